"""What crosses between components: typed messages and views, pure."""
