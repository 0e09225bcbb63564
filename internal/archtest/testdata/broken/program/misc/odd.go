// Package odd is in a directory called after nothing.
package odd
