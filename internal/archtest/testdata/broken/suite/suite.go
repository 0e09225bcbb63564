// Package suite is for tests.
package suite
