package task

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Each calls do for each item of a source, as one step of a task. A later run goes on where this
// one has stopped. The source yields each item with a cursor, a value of any type that can be
// encoded as JSON: the position from which to go on once that item is done.
//
//	err := task.Each(ctx, r, "rows",
//		func(ctx context.Context, after *int64, yield func(int64, Row) bool) error {
//			// after is nil at the start
//			rows, err := db.Query(ctx, "select ... where id > $1 order by id", after)
//			if err != nil {
//				return err
//			}
//			defer rows.Close()
//			for rows.Next() {
//				...
//				if !yield(row.ID, row) {
//					return nil
//				}
//			}
//			return rows.Err()
//		},
//		func(ctx context.Context, row Row) error { ... })
//
// The source is called once in each run, with nil or with the recorded cursor. It yields the items
// after the cursor, from the goroutine that called it, and returns when yield returns false. Its
// error, such as that of a query that fails half way, is the error of the step. A nil error means
// that there are no more items, unless the context has ended by then. Use [EachOf] for a slice. An
// iter.Seq2 without errors can be a source as well: call it with yield, and return nil.
//
// The cursor is recorded after its item, never before: at last call, when the context ends, at any
// error or panic, and otherwise once a second (see [SaveEvery]). So a stop repeats no item. After a
// SIGKILL or a loss of power the items of the last second are done again, and do must allow for
// that: with a write that can be repeated, or one that is recorded in its transaction. A cursor
// that has moved counts as progress, as a new checkpoint does.
//
// Each checks for the last call before each item. After last call it does not call do again, and
// returns an error that is ErrInterrupted: return it, and the task is handed over. An item that has
// begun goes on until its context ends. An error of do ends the step, and Each returns it wrapped,
// with the step's name; the next run begins with that item.
//
// If the number of items is known, from [Length] or [EachOf], Each also sets the progress of the
// run, as [Run.SetProgress] does. It costs less than a microsecond for each item.
//
// Names, order, former names and bounds are as for [Step].
func Each[C, T any](ctx context.Context, r *Run, name string, source func(ctx context.Context, after *C, yield func(C, T) bool) error,
	do func(context.Context, T) error, opts ...StepOption,
) error {
	var at C // after the last item that was done
	e := &each{encode: func() ([]byte, error) { return json.Marshal(at) }}
	begun, err := e.begin(ctx, r, name, opts)
	if err != nil || !begun {
		return err
	}
	defer e.step.leave()
	var after *C
	if e.items > 0 {
		after = new(C)
		if err := e.decode(after); err != nil {
			return err
		}
		at = *after
	}
	defer e.keep(ctx)
	err = source(ctx, after, func(cursor C, item T) bool {
		if e.err == nil {
			e.err = e.step.mayBegin(ctx)
		}
		if e.err == nil {
			if e.err = do(ctx, item); e.err == nil {
				at = cursor
				e.err = e.done(ctx)
			} else {
				e.err = e.step.failed(e.err)
			}
		}
		return e.err == nil
	})
	return e.end(ctx, err)
}

// EachOf is [Each] for the items of a slice, in their order. A later run must have the same slice,
// or one that begins with the same items: the cursor is the number of items that are done.
func EachOf[T any](ctx context.Context, r *Run, name string, items []T, do func(context.Context, T) error, opts ...StepOption) error {
	return Each(ctx, r, name, func(_ context.Context, after *int, yield func(int, T) bool) error {
		from := 0
		if after != nil {
			from = min(*after, len(items))
		}
		for i, item := range items[from:] {
			if !yield(from+i+1, item) {
				break
			}
		}
		return nil
	}, do, append([]StepOption{Length(len(items))}, opts...)...)
}

// Length sets how many items an Each has, over all runs.
func Length(n int) StepOption {
	return func(o *stepOptions) { o.length, o.each = n, true }
}

// SaveEvery sets how often an Each records its cursor while nothing else causes it: after the first
// item that ends at least d after the last time. The default is a second; 0 means after every item.
func SaveEvery(d time.Duration) StepOption {
	return func(o *stepOptions) { o.every, o.each = d, true }
}

// each is one Each of a run.
type each struct {
	step   *step
	encode func() ([]byte, error) // the cursor
	hook   func(name string)      // of tasktest, called after each item

	items   int // that are done, over all runs
	unsaved int // of these
	saved   time.Time
	err     error // which has ended it
	over    bool  // nothing more must be recorded
}

// position is the body of the record of an Each that is under way.
type position struct {
	Items  int             `json:"items"`
	Cursor json.RawMessage `json:"cursor"`
}

// begin reports whether there may be something to do.
func (e *each) begin(ctx context.Context, r *Run, name string, opts []StepOption) (begun bool, err error) {
	opts = append([]StepOption{SaveEvery(time.Second)}, opts...)
	s, err := r.beginStep(ctx, name, true, opts)
	if err != nil {
		return false, err
	}
	defer func() {
		if !begun {
			s.leave()
		}
	}()
	e.step, e.saved = s, time.Now()
	if watch, ok := r.store.(interface{ ItemDone(step string) }); ok {
		e.hook = watch.ItemDone
	}
	switch {
	case s.skipped, s.recorded != nil && s.recorded.State == StepDone && s.recorded.Body == nil:
		s.passed()
		return false, nil
	case s.recorded != nil && s.recorded.State == StepDone:
		return false, s.misfit("is one of Step there, and of Each here: give it another name")
	case s.recorded != nil:
		var p position
		if err := json.Unmarshal(s.recorded.Body, &p); err != nil {
			return false, s.misfit("has a position that cannot be read: %w", err)
		}
		e.items = p.Items
	}
	if err := s.mayBegin(ctx); err != nil {
		return false, err
	}
	return true, nil
}

// decode reads the recorded cursor.
func (e *each) decode(into any) error {
	var p position
	err := json.Unmarshal(e.step.recorded.Body, &p)
	if err == nil {
		err = json.Unmarshal(p.Cursor, into)
	}
	if err != nil {
		return e.step.misfit("has a cursor that this program cannot read: %w", err)
	}
	return nil
}

// done counts an item, and records the cursor when it is time.
func (e *each) done(ctx context.Context) error {
	e.items++
	e.unsaved++
	if e.hook != nil {
		e.hook(e.step.name)
	}
	if time.Since(e.saved) < e.step.opts.every {
		return nil
	}
	if err := e.save(ctx); err != nil {
		return e.step.failed(err)
	}
	return nil
}

// save records the cursor.
func (e *each) save(ctx context.Context) error {
	cursor, err := e.encode()
	if err != nil {
		return fmt.Errorf("cursor: %w", err)
	}
	body, err := encodeCheckpoint(position{Items: e.items, Cursor: cursor})
	if err != nil {
		return err
	}
	e.tell()
	if err := e.step.write(ctx, StepOpen, body); err != nil {
		return err
	}
	e.unsaved, e.saved = 0, time.Now()
	return nil
}

// tell sets the run's progress, where the number of items is known.
func (e *each) tell() {
	if n := e.step.opts.length; n > 0 {
		e.step.run.SetProgress(float64(e.items)/float64(n), fmt.Sprintf("%s %d of %d", e.step.name, e.items, n))
	}
}

// end handles a source that has returned, and returns the result of the step.
func (e *each) end(ctx context.Context, err error) error {
	switch {
	case e.err != nil:
	case err != nil:
		e.err = e.step.failed(err)
	case ctx.Err() != nil: // the source may have seen it, and there may be more
		e.err = e.step.handOver(ctx)
	default:
		e.tell()
		e.over = true // or its last items are done again
		if err := e.step.write(ctx, StepDone, nil); err != nil {
			return e.step.failed(err)
		}
		return nil
	}
	return e.err
}

// keep records the cursor of an Each that was not completed, whatever has ended it, even a panic.
func (e *each) keep(ctx context.Context) {
	if e.over || e.unsaved == 0 || lostForGood(context.Cause(ctx)) {
		return
	}
	if err := e.save(ctx); err != nil {
		e.step.run.Log(fmt.Sprintf("step %s: the cursor behind item %d was not recorded: %v", e.step.name, e.items, err))
	}
}
