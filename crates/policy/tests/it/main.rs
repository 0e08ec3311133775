//! Tests of the policy language and of what makes demands of requests.

mod lowering;
