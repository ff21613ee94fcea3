"""Which network for this detector? Networks and their settings are tried, judged and improved."""
