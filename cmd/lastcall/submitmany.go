package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/httpapi"
)

const (
	// manyStep is how many tasks are sent at a time, and manyStepBytes how many bytes of payload.
	manyStep      = 1000
	manyStepBytes = 4 << 20
	// maxLine bounds a line: the largest payload, and the fields around it.
	maxLine = task.MaxPayload + 64<<10
)

// submitMany submits the tasks of a file's lines, many at a time, and prints the id of each.
func submitMany(cmd *cobra.Command, s *submission) error {
	in := cmd.InOrStdin()
	if s.many != "-" {
		f, err := os.Open(s.many)
		if err != nil {
			return fmt.Errorf("submit many: %w", err)
		}
		defer f.Close() // only read
		in = f
	}
	return s.to.with(cmd.Context(), true, func(b backend) error {
		_, server := b.(*httpapi.Client)
		m := many{cmd: cmd, backend: b, server: server, asJSON: s.asJSON}
		err := m.read(in)
		// The lines before a bad one are good, and are submitted.
		if sent := m.send(); sent != nil {
			err = sent
		}
		if err == nil && m.busy > 0 {
			err = fmt.Errorf("%w: %d lines are not submitted, submit them again", task.ErrKeyBusy, m.busy)
		}
		if err == nil && m.conflicts > 0 {
			err = fmt.Errorf("%w: %d lines are not submitted, since tasks of another kind or payload have their ids", task.ErrIDConflict, m.conflicts)
		}
		if err != nil {
			return fmt.Errorf("%w (%d tasks are submitted, their ids are printed)", err, m.done)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "lastcall: %s\n", m.summary())
		return nil
	})
}

// many is a file of tasks that is being submitted.
type many struct {
	cmd     *cobra.Command
	backend backend
	server  bool // the backend is a server, which knows the queue of each kind
	asJSON  bool

	pending         []task.NewTask
	lines           []int // of the file, in which the pending ones are
	bytes           int
	done            int
	outcomes        [task.OutcomeDiscarded + 1]int
	busy, conflicts int // of tasks that are not submitted
}

// summary describes the result of all lines.
func (m *many) summary() string {
	s := fmt.Sprintf("%d tasks submitted, of which %d existed already", m.done, m.outcomes[task.OutcomeExisting])
	if n := m.outcomes[task.OutcomeReplaced]; n > 0 {
		s += fmt.Sprintf(", %d replaced one that waited", n)
	}
	if n := m.outcomes[task.OutcomeDiscarded]; n > 0 {
		s += fmt.Sprintf(", %d discarded", n)
	}
	return s
}

// read reads the lines up to the end, or to the first that cannot be submitted.
func (m *many) read(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	n := 0
	for lines.Scan() {
		n++
		line := lines.Bytes()
		if n == 1 {
			// Some editors begin a file with a byte order mark.
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		one, err := m.parse(line)
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		m.pending, m.lines = append(m.pending, one), append(m.lines, n)
		if m.bytes += len(one.Payload); len(m.pending) >= manyStep || m.bytes >= manyStepBytes {
			if err := m.send(); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("line %d: it has more than %d bytes: put the payload into a file and submit its name", n+1, maxLine)
	} else if err != nil {
		return fmt.Errorf("line %d: %w", n+1, err)
	}
	return nil
}

// send submits the pending tasks. It reports a task whose key is busy or whose id is another
// task's; such a task does not stop the others.
func (m *many) send() error {
	if len(m.pending) == 0 {
		return nil
	}
	all, err := m.backend.EnqueueMany(m.cmd.Context(), m.pending)
	if errors.Is(err, task.ErrKeyBusy) || errors.Is(err, task.ErrIDConflict) {
		err = nil // the answer is complete, and names those that are left out
	}
	out := bufio.NewWriter(m.cmd.OutOrStdout())
	for i, one := range all {
		switch {
		case errors.Is(one.Err, task.ErrIDConflict):
			m.conflicts++
			fmt.Fprintf(m.cmd.ErrOrStderr(), "lastcall: line %d is not submitted: its id %s is that of a task of another kind or with another payload\n",
				m.lines[i], one.ID)
			continue
		case one.Err != nil:
			m.busy++
			fmt.Fprintf(m.cmd.ErrOrStderr(), "lastcall: line %d is not submitted: an open transaction holds its key %q\n",
				m.lines[i], m.pending[i].Key)
			continue
		}
		m.outcomes[one.Outcome]++
		m.done++
		if m.asJSON {
			fmt.Fprintf(out, "{\"id\":%q,\"outcome\":%q}\n", one.ID, one.Outcome)
		} else {
			fmt.Fprintln(out, one.ID)
		}
	}
	m.pending, m.lines, m.bytes = nil, nil, 0
	return errors.Join(err, out.Flush())
}

// parse parses a line. If it names no queue, a server chooses it.
func (m *many) parse(b []byte) (task.NewTask, error) {
	one, err := httpapi.ParseNewTask(b)
	if err != nil {
		return one, fmt.Errorf("%w (see lastcall submit --help)", err)
	}
	if !m.server && one.Queue == "" {
		one.Queue = task.DefaultQueue
	}
	return one, nil
}
