"""What an inference engine tells about itself: requests that run and wait, tokens generated."""
