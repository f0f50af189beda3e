"""What drives `fit` to choose a learning rate: finder, sweep, landscape."""
