package task

import "fmt"

// OnConflict decides what happens to a new task whose Key is held.
type OnConflict int

const (
	// Existing returns the task that holds the key in place of the new one. It is the default.
	Existing OnConflict = iota
	// Replace gives the payload, the Meta, the priority and the time of the new task to the task that
	// holds the key, while that one waits. If it has run before, it begins from the start. A task that
	// runs or has ended is left as it is, and the outcome is OutcomeExisting.
	Replace
	// Discard drops the new task; the outcome is OutcomeDiscarded.
	Discard
)

var conflictNames = [...]string{Existing: "existing", Replace: "replace", Discard: "discard"}

// String returns the name, as programs write it.
func (c OnConflict) String() string {
	if c < 0 || int(c) >= len(conflictNames) {
		return fmt.Sprintf("OnConflict(%d)", int(c))
	}
	return conflictNames[c]
}

// ParseOnConflict parses the result of OnConflict.String. An empty text is Existing; an error is
// ErrInvalid.
func ParseOnConflict(text string) (OnConflict, error) {
	if text == "" {
		return Existing, nil
	}
	for c, name := range conflictNames {
		if text == name {
			return OnConflict(c), nil
		}
	}
	return 0, invalid("on conflict %.40q: write existing, replace or discard", text)
}

// Outcome is what the store did with a new task.
type Outcome int

const (
	// OutcomeAdded: the task is recorded under its own id.
	OutcomeAdded Outcome = iota
	// OutcomeExisting: nothing was added, because a task exists, which was left as it is: the same
	// task, added before, or the one that holds the key.
	OutcomeExisting
	// OutcomeReplaced: another task, which waits and holds the key, has the payload, the Meta, the
	// priority and the time of the new one now.
	OutcomeReplaced
	// OutcomeDiscarded: the new task was dropped, because another task holds its key.
	OutcomeDiscarded
)

var outcomeNames = [...]string{
	OutcomeAdded: "added", OutcomeExisting: "existing", OutcomeReplaced: "replaced", OutcomeDiscarded: "discarded",
}

// String returns the name, as programs write it.
func (o Outcome) String() string {
	if o < 0 || int(o) >= len(outcomeNames) {
		return fmt.Sprintf("Outcome(%d)", int(o))
	}
	return outcomeNames[o]
}

// MarshalText writes the name.
func (o Outcome) MarshalText() ([]byte, error) {
	if o < 0 || int(o) >= len(outcomeNames) {
		return nil, fmt.Errorf("task: %v has no name", o)
	}
	return []byte(o.String()), nil
}

// UnmarshalText reads a name.
func (o *Outcome) UnmarshalText(text []byte) error {
	for i, name := range outcomeNames {
		if string(text) == name {
			*o = Outcome(i)
			return nil
		}
	}
	return fmt.Errorf("task: %.40q is not an outcome of enqueuing", text)
}

// checkKey returns what is wrong with a new task's key and its options.
func (n *NewTask) checkKey() error {
	switch {
	case len(n.Key) > maxKey || n.Key != storable(n.Key, maxKey):
		return invalid("key %.40q must be text of at most %d bytes", n.Key, maxKey)
	case n.OnConflict < Existing || n.OnConflict > Discard:
		return invalid("%v is none of Existing, Replace and Discard", n.OnConflict)
	case n.KeyFor < 0:
		return invalid("key for %v is negative: leave it out to hold the key until the task has ended", n.KeyFor)
	case n.KeyFor > maxDelay:
		return invalid("key for %v is longer than a hundred years: use less", n.KeyFor)
	case n.Key == "" && n.KeyFor != 0:
		return invalid("key for %v needs a key: name what must not be there twice", n.KeyFor)
	case n.Key == "" && n.OnConflict != Existing:
		return invalid("on conflict %v needs a key: name what must not be there twice", n.OnConflict)
	}
	return nil
}
