"""What tests share: tiny models, data, recorded draws, comparisons."""
