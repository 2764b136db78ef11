//! Tests of `pam_cgsandbox.so` through the real libpam.
