"""Asks a model for answers over Open Inference Protocol v2, or in process, and measures how fast they come."""
