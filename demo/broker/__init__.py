"""An Open Service Broker that sells PostgreSQL databases, for the demo and for the operator's tests.

- catalog: what is on offer
- model: what the broker remembers, which is instances, bindings and operations
- database: what a backend must be able to do
- memory: a backend without PostgreSQL, for quick tests
- postgres: the real one
- service: the broker, OSB semantics, the same for both backends
- web: HTTP, that is openbrokerapi's blueprint and what it lacks
"""
