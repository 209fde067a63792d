"""What a run takes: memory and time, foreseen from the model's configuration, and measured."""
