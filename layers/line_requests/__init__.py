"""Line requests: one call decides, pays if it must, provisions once."""
