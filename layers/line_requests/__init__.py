"""Line requests: sells communication lines on subscription plans and has each provisioned once."""
