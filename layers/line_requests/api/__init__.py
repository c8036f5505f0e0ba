"""HTTP requests and responses, authentication, pages."""
