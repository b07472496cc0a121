"""vLLM as the engine of models that generate texts: `engine="vllm"`."""
