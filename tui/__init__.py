"""The operator console's package. It reaches the engine only through engine.api.client."""
