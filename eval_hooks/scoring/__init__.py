"""What sees the model: how texts lie in a row, and what a model says of them."""
