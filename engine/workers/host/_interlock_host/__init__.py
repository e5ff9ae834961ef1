"""The worker host: executes attempts, keeps their output, outlives the engine. Standard library only."""

PROTOCOL = 1
