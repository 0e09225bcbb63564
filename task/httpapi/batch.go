package httpapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/lastcall-go/lastcall/task"
)

// batch records the tasks of a body of lines, many in one transaction, and answers with a line for
// each. The lines are independent: a bad one does not hold back the others. They are recorded while
// the body is read, and answered after that, so a client that sends everything before it reads
// anything does not hang.
func (h *Handler) batch(a *answer, r *http.Request) error {
	if r.ContentLength > maxBatchBytes {
		a.Header().Set("Connection", "close")
		return problem("too-large", "a batch has at most %d bytes, this one has %d: send several", maxBatchBytes, r.ContentLength)
	}
	b := batch{h: h, r: r}
	lines := wholeLines(http.MaxBytesReader(a, r.Body, maxBatchBytes))
	for lines.Scan() && b.add(lines.Bytes()) {
	}
	b.stopped(lines.Err())
	b.record()
	if b.made > 0 {
		h.audit(a, "tasks queued", "tasks", b.made)
	}
	return b.answer(a)
}

// wholeLines scans lines of bounded length. A line that a read error has cut off is dropped.
func wholeLines(r io.Reader) *bufio.Scanner {
	body := &remembering{r: r}
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 0, bodyStep), maxBody)
	lines.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		if atEOF && !errors.Is(body.err, io.EOF) && bytes.IndexByte(data, '\n') < 0 {
			return len(data), nil, nil
		}
		return bufio.ScanLines(data, atEOF)
	})
	return lines
}

// remembering is a reader that remembers how it ended.
type remembering struct {
	r   io.Reader
	err error
}

func (r *remembering) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	if err != nil {
		r.err = err
	}
	return n, err
}

// batch is a batch that is being read.
type batch struct {
	h       *Handler
	r       *http.Request
	lines   int
	answers []batchLine
	// pending are tasks that are not recorded yet; at has the index of the answer of each.
	pending []task.NewTask
	at      []int
	bytes   int
	made    int
	failed  *Problem // of the store: it is not called again
}

// add takes a line, and reports whether more lines are wanted.
func (b *batch) add(line []byte) bool {
	b.lines++
	if b.lines > maxBatchLines {
		b.refuse("", problem("too-large", "a batch has at most %d lines: this one and those after it were not looked at, send them in another batch", maxBatchLines))
		return false
	}
	if b.failed != nil {
		b.refuse("", problem("unavailable", "this line and those after it were not looked at, since before them %s", b.failed.Detail))
		return false
	}
	if len(bytes.TrimSpace(line)) == 0 {
		return true
	}
	n, err := b.h.decodeNewTask(line)
	if err == nil && b.h.knownOnly {
		err = b.known(n.Kind)
	}
	if err != nil {
		b.refuse("", err)
		return true
	}
	b.pending, b.at = append(b.pending, n), append(b.at, len(b.answers))
	b.answers = append(b.answers, batchLine{Line: b.lines, ID: n.ID})
	b.bytes += len(n.Payload)
	if len(b.pending) >= batchStep || b.bytes >= batchStepBytes {
		b.record()
	}
	return true
}

// known refuses a task of a kind that nobody knows.
func (b *batch) known(kind string) error {
	ctx, cancel := withStoreTimeout(b.r)
	defer cancel()
	return b.h.kinds.check(ctx, b.h.client, kind)
}

// refuse answers the present line.
func (b *batch) refuse(id string, err error) {
	b.answers = append(b.answers, batchLine{Line: b.lines, ID: id, Problem: problemOf(err)})
}

// stopped records what ended the reading before the end of the body.
func (b *batch) stopped(err error) {
	if err == nil {
		return
	}
	b.lines++
	if errors.Is(err, bufio.ErrTooLong) {
		err = problem("too-large", "this line has more than %d bytes: it and those after it were not looked at", maxBody)
	} else if over := (*http.MaxBytesError)(nil); errors.As(err, &over) {
		err = problem("too-large", "a batch has at most %d bytes: this line and those after it were not looked at, send them in another batch", over.Limit)
	} else {
		err = bodyError(err)
	}
	b.refuse("", err)
}

// record passes the pending tasks to the store, and answers their lines.
func (b *batch) record() {
	ctx, cancel := withStoreTimeout(b.r)
	defer cancel()
	mark := b.h.hub.mark()
	done, err := b.h.client.EnqueueMany(ctx, b.pending)
	for i, d := range done {
		line := &b.answers[b.at[i]]
		line.ID = d.ID
		if d.Err != nil {
			line.Problem = problemOf(d.Err)
			continue
		}
		line.Outcome = &d.Outcome
		if d.Outcome == task.OutcomeAdded {
			b.made++
			b.h.hub.queued(mark, b.pending[i])
		}
	}
	if len(done) < len(b.at) { // otherwise the error only counts those that were left out
		b.failed = b.h.problemOf(b.r, err)
	}
	for _, i := range b.at[len(done):] {
		b.answers[i].Problem = b.failed
	}
	b.pending, b.at, b.bytes = nil, nil, 0
}

func (b *batch) answer(a *answer) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	for _, line := range b.answers {
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	a.Header().Set("Content-Type", asLines)
	a.WriteHeader(http.StatusOK)
	_, _ = buf.WriteTo(a) // the client may be gone
	return nil
}
