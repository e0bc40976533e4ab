"""The training loop and its optimiser.

The loop works through a table of phases and knows no model, likelihood or regulariser by name.
"""
