"""An Open Service Broker that sells PostgreSQL databases, for the demo and for the operator's tests.

- catalog: what is on offer
- model: what the broker remembers, which is instances, bindings and operations
- database: what a backend must be able to do
- memory: a backend without PostgreSQL, for quick tests
- postgres: the real one
- service: the broker, OSB semantics, the same for both backends
- extensions: what openbrokerapi lacks of OSB 2.17
- details: what these are used for, such as metadata and maintenance
- web: HTTP, that is openbrokerapi's blueprint and its extensions
- mischief: what tests can tell the broker to do wrong
"""
