package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// Enqueue submits a task. Its payload must be JSON and is sent without white space. Once Enqueue
// has returned without an error the task survives the server's process. The client creates the
// task's id, so a request that is sent twice because a connection broke creates no second task; set
// EnqueueOptions.ID for the same across calls. opt may be nil.
//
// Errors:
//
//   - task.ErrInvalid: the caller's mistake.
//   - task.ErrIDConflict: the id belongs to another task.
//   - task.ErrKeyBusy: try again.
//   - Any other: it is not known whether the task was recorded. Enqueuing again with the same id is
//     safe; the result has the id even then.
func (c *Client) Enqueue(ctx context.Context, kind string, payload []byte, opt *task.EnqueueOptions) (task.EnqueueResult, error) {
	n, err := task.Prepare(kind, payload, opt)
	if err != nil {
		return task.EnqueueResult{}, err
	}
	if opt == nil || opt.Queue == "" {
		n.Queue = "" // the server knows where tasks of this kind wait
	}
	body, err := encodeNewTask(n)
	if err != nil {
		return task.EnqueueResult{}, err
	}
	var j submitted
	if _, err := c.send(ctx, http.MethodPost, "/v1/tasks", asJSON, body, &j); err != nil {
		return task.EnqueueResult{ID: n.ID}, err
	}
	return task.EnqueueResult{ID: j.ID, Outcome: j.Outcome}, nil
}

// EnqueueMany submits tasks that [task.Kind.Prepare] or [task.Prepare] has prepared, thousands in
// one request. A task whose Queue was set to empty waits in the queue that the server has for its
// kind. The results are in the order of the tasks. Tasks that are not added are reported as by
// [task.Client.EnqueueMany]. After any other error the tasks that have a result without an Err are
// recorded, and it is not known whether the others are: enqueuing the same tasks again is safe,
// since they keep their ids.
func (c *Client) EnqueueMany(ctx context.Context, tasks []task.NewTask) ([]task.EnqueueResult, error) {
	done := make([]task.EnqueueResult, 0, len(tasks))
	left := make(map[error]int)
	for len(done) < len(tasks) {
		var body bytes.Buffer
		n := 0
		for ; n < maxBatchLines && len(done)+n < len(tasks); n++ {
			line, err := encodeNewTask(tasks[len(done)+n])
			if err != nil {
				return done, err
			}
			if n > 0 && body.Len()+len(line)+1 > maxBatchBytes {
				break
			}
			body.Write(line)
			body.WriteByte('\n')
		}
		part, err := c.sendBatch(ctx, body.Bytes(), n)
		for _, one := range part {
			if one.Err != nil {
				left[one.Err]++
			}
			done = append(done, one)
		}
		if err != nil {
			return done, fmt.Errorf("submit many, after %d: %w", len(done), err)
		}
	}
	var errs []error
	if n := left[task.ErrKeyBusy]; n > 0 {
		errs = append(errs, fmt.Errorf("submit many: %w: %d of %d tasks were not added, submit those again", task.ErrKeyBusy, n, len(tasks)))
	}
	if n := left[task.ErrIDConflict]; n > 0 {
		errs = append(errs, fmt.Errorf("submit many: %w: %d of %d tasks were not added, give those new ids", task.ErrIDConflict, n, len(tasks)))
	}
	return done, errors.Join(errs...)
}

// leftOut returns the error of a task that was not added while the others were, nil for any other
// problem.
func leftOut(p *Problem) error {
	for _, known := range []error{task.ErrKeyBusy, task.ErrIDConflict} {
		if p != nil && errors.Is(p, known) {
			return known
		}
	}
	return nil
}

// sendBatch returns the results of the lines up to the first one that failed. A task that was left
// out does not count as failed.
func (c *Client) sendBatch(ctx context.Context, body []byte, lines int) ([]task.EnqueueResult, error) {
	var b []byte
	if _, err := c.send(ctx, http.MethodPost, "/v1/tasks/batch", asLines, body, &b); err != nil {
		return nil, err
	}
	answers, err := decodeBatch(b)
	if err != nil {
		return nil, fmt.Errorf("%s: the answer is not understood: %w", c.base, err)
	}
	var done []task.EnqueueResult
	for i, a := range answers {
		left := leftOut(a.Problem)
		if a.Problem != nil && left == nil {
			return done, a.Problem
		}
		if a.Line != i+1 {
			return done, fmt.Errorf("%s: the answer lacks line %d", c.base, i+1)
		}
		one := task.EnqueueResult{ID: a.ID, Err: left}
		if a.Outcome != nil {
			one.Outcome = *a.Outcome
		} else if left == nil {
			return done, fmt.Errorf("%s: the answer to line %d has no outcome", c.base, a.Line)
		}
		done = append(done, one)
	}
	if len(done) != lines {
		return done, fmt.Errorf("%s: %d lines were answered, not %d", c.base, len(done), lines)
	}
	return done, nil
}

func decodeBatch(b []byte) ([]batchLine, error) {
	var all []batchLine
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, maxBody)
	for lines.Scan() {
		var a batchLine
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			return all, err
		}
		all = append(all, a)
	}
	return all, lines.Err()
}

// encodeNewTask writes a new task on one line, and so its payload without white space.
func encodeNewTask(n task.NewTask) ([]byte, error) {
	s := submission{ID: n.ID, Kind: n.Kind, Payload: n.Payload, Queue: n.Queue, Key: n.Key, Priority: n.Priority, Meta: n.Meta}
	if n.Delay != 0 {
		s.Delay = n.Delay.Round(time.Microsecond).String()
	}
	if n.StartBefore != 0 {
		s.StartBefore = n.StartBefore.Round(time.Microsecond).String()
	}
	if n.KeyFor != 0 {
		s.KeyFor = max(n.KeyFor.Round(time.Microsecond), time.Microsecond).String()
	}
	if n.OnConflict != task.Existing {
		s.OnConflict = n.OnConflict.String()
	}
	if !json.Valid(n.Payload) {
		return nil, fmt.Errorf("%w: the payload is not JSON, which a server wants", task.ErrInvalid)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
