package task

// tail keeps the end of a run's log that is not yet written.
type tail struct{ b []byte }

func (t *tail) add(s string) {
	t.b = append(t.b, s...)
	if over := len(t.b) - MaxLog; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
}

func (t *tail) empty() bool { return len(t.b) == 0 }

func (t *tail) peek() []byte { return t.b }

// take returns the bytes, and keeps them no longer.
func (t *tail) take() []byte {
	b := t.b
	t.b = nil
	return b
}

// giveBack puts bytes back in front that were taken and could not be written.
func (t *tail) giveBack(b []byte) {
	rest := t.take()
	t.add(string(b) + string(rest))
}
