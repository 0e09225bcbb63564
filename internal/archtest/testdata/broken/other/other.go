// Package other may import core.
package other
