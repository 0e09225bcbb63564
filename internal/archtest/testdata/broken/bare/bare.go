package bare

import "io"

type Naked struct{}

func Function() {}

func (Naked) Method() {}

func (n *Generic[T]) Method() {}

const Constant = 1

var Variable, unexported = 1, 2

//go:noinline
func Directive() {}

// Generic has a comment, and some of its fields do.
type Generic[T any] struct {
	// Documented has a comment of its own.
	Documented T
	Neighbour  int // beside it
	Together   int

	Apart int

	hidden    int
	io.Reader // embedded: its name is its type's
}

// Doer has a comment.
type Doer interface {
	Do()

	// Undo has a comment.
	Undo()
}

// Grouped constants share a comment.
const (
	One = iota
	Two
)

type unseen struct{ Field int }

func (unseen) Method() {}
