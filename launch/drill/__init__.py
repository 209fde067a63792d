"""A fire drill: a short real run is killed at random moments and resumed, and compared with the unbroken one."""
