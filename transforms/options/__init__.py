"""What is asked for, validated when it is stated; and how values are named, shown and compared."""
