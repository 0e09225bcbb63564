// Package util is called after nothing.
package util
