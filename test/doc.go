// Package test has the tests of the real binary: it is built, started, and sent real signals by its
// process id.
//
// The points of interruption are random. The seed is logged, and given again with -seed or
// LASTCALL_TEST_SEED it makes the same choices; -points makes more of them.
package test
