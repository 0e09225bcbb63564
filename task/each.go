package task

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Each calls do for each item of a source, as one step of a task, and a later run goes on where
// this one has stopped. The source yields each item with a cursor, a value of any type that JSON
// can keep: where to go on once that item is done.
//
//	err := task.Each(ctx, r, "rows",
//		func(ctx context.Context, after *int64, yield func(int64, Row) bool) error {
//			rows, err := db.Query(ctx, "select ... where id > $1 order by id", after) // nil: from the start
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
// The source is called once in each run, with nil or the recorded cursor, just as it was, and
// yields what comes behind it, from the goroutine that called it. When yield is false it returns.
// Its error, that of a query that fails half way, is the step's; nil says that there are no more
// items, unless the context has ended by then. [EachOf] is for a slice. An iter.Seq2 without errors
// is a source as well: call it with yield, and return nil.
//
// The cursor is recorded after its item, never before: at last call, when the context ends, at any
// error or panic, and otherwise once a second, see [SaveEvery]. So a stop costs nothing. A SIGKILL,
// or a loss of power, has the items of the last second done again, and do must bear that: with a
// write that can be repeated, or one that is recorded in its transaction. A cursor that has moved
// is progress as a new checkpoint is.
//
// Each looks for the last call before each item. It then calls do no more and returns an error that
// is ErrInterrupted: return it, and the task is handed over. An item that has begun goes on until
// its context ends. An error of do ends the step and comes back wrapped, with the step's name; the
// next run begins with that item.
//
// Where it knows how many items there are, from [Length] or [EachOf], Each also says how far the
// run is, as with [Run.SetProgress]. It costs an item less than a microsecond.
//
// The rest is as for [Step]: names, order, former names, bounds.
func Each[C, T any](ctx context.Context, r *Run, name string, source func(ctx context.Context, after *C, yield func(C, T) bool) error,
	do func(context.Context, T) error, opts ...StepOption,
) error {
	var at C // behind the last item that was done
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
// or one that begins with the same items: its cursor is how many are done.
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

// Length says how many items an Each has, over all runs.
func Length(n int) StepOption {
	return func(o *stepOptions) { o.length, o.each = n, true }
}

// SaveEvery says how often an Each records its cursor while nothing else makes it: after the first
// item that ends so long after the last time. Without it that is a second; 0 is after every item.
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
	over    bool  // nothing more is to be recorded
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

// tell says how far it is, where that is known.
func (e *each) tell() {
	if n := e.step.opts.length; n > 0 {
		e.step.run.SetProgress(float64(e.items)/float64(n), fmt.Sprintf("%s %d of %d", e.step.name, e.items, n))
	}
}

// end is for a source that has returned, and says what became of the step.
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
		e.step.passed()
		return nil
	}
	return e.err
}

// keep records the cursor of an Each that has not come to its end, whatever has ended it: a panic,
// too.
func (e *each) keep(ctx context.Context) {
	if e.over || e.unsaved == 0 || lostForGood(context.Cause(ctx)) {
		return
	}
	if err := e.save(ctx); err != nil {
		e.step.run.Log(fmt.Sprintf("step %s: the cursor behind item %d was not recorded: %v", e.step.name, e.items, err))
	}
}
