package sqlitestore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// fewWait is how many waiting tasks are few. A listing of queued tasks sorts that many. Where more
// tasks wait, some of them are among the newest tasks, and a listing from there soon has a full
// page.
const fewWait = 1000

// search is a query, and how it is answered.
type search struct {
	task.Query
	statuses      []task.Status
	kinds, queues []string
	most          int
	start         bool // the listing begins behind the place
	place         task.Position
	// exact: the sources return exactly the tasks that the query asks for. Otherwise each task that
	// they return is checked, at most looks of them.
	exact bool
	looks int
}

// condition is a part of a statement with its arguments.
type condition struct {
	text string
	args []any
}

// searchOf reads a query. Nil means that the query admits no task.
func (s *Store) searchOf(ctx context.Context, q task.Query) (*search, error) {
	f := &search{Query: q, most: cmp.Or(q.Limit, 100), looks: q.Looks()}
	var some, someKinds, someQueues bool
	f.statuses, some = q.AllStatuses()
	f.kinds, someKinds = q.AllKinds()
	f.queues, someQueues = q.AllQueues()
	if !some || !someKinds || !someQueues {
		return nil, nil
	}
	if len(q.IDs) > 0 {
		f.looks = len(q.IDs) + 1
	}
	var err error
	if f.place, f.start, err = q.Start(); err != nil || !f.start || !f.place.At.IsZero() {
		return f, err
	}
	var created int64
	switch err = one(ctx, s.reader, "CreatedAt", []any{f.place.ID}, &created); {
	case errors.Is(err, sql.ErrNoRows):
		when, known := storekit.TimeOf(f.place.ID)
		if f.place.At = when; !known {
			return nil, fmt.Errorf("%w: %.80q, behind which the listing was to continue: start it again", task.ErrNotFound, f.place.ID)
		}
		return f, nil
	case err != nil:
		return nil, err
	}
	f.place.At = at(created)
	return f, nil
}

// micros returns the first microsecond that is not before a time.
func micros(t time.Time) int64 { return t.Add(time.Microsecond - time.Nanosecond).UnixMicro() }

// within returns the conditions for a time within a span.
func within(column string, s task.Span) (all []condition) {
	if !s.From.IsZero() {
		all = append(all, condition{column + " >= ?", []any{micros(s.From)}})
	}
	if !s.To.IsZero() {
		all = append(all, condition{column + " > 0 and " + column + " < ?", []any{micros(s.To)}})
	}
	return all
}

// oneOf returns the condition that a column has one of some values.
func oneOf[T ~string](column string, wanted []T) []condition {
	if len(wanted) == 0 {
		return nil
	}
	arg, err := list(wanted)
	if err != nil { // texts always encode
		panic(err)
	}
	return []condition{{column + " in (select value from json_each(?))", []any{arg}}}
}

// only reports whether the query asks for no other statuses than those of a list.
func (f *search) only(of ...task.Status) bool {
	return len(f.statuses) > 0 && !slices.ContainsFunc(f.statuses, func(s task.Status) bool { return !slices.Contains(of, s) })
}

// plain reports whether the query has no filter for which the tasks of every source must be
// checked.
func (f *search) plain() bool {
	q := f.Query
	return len(q.Reasons) == 0 && q.Worker == "" && q.ErrorText == "" && len(q.Meta) == 0 && q.Started.IsZero() &&
		(q.Finished.IsZero() || q.Order == task.OrderFinished) && (q.Created.IsZero() || q.Order != task.OrderFinished)
}

// statement returns a statement that reads the numbers of tasks, with their places in the order,
// from the sources with the fewest rows to check.
func (s *Store) statement(ctx context.Context, f *search) (text string, args []any, err error) {
	noLists := len(f.kinds) == 0 && len(f.queues) == 0
	var sources []string
	source := func(from, n, at string, conditions ...condition) {
		conditions = append(conditions, condition{"true", nil})
		if f.start {
			last := f.place.At.UnixMicro()
			conditions = append(conditions, condition{"(" + at + ", t.id) < (?, ?)", []any{last, f.place.ID}})
			if at != "t.created" { // the index has only the time
				conditions = append(conditions, condition{at + " <= ?", []any{last}})
			}
		}
		span := f.Created
		if f.Order == task.OrderFinished {
			span = f.Finished
		}
		where, more := joined(append(conditions, within(at, span)...))
		sources, args = append(sources, "select "+n+" as n, "+at+" as at, t.id as id from "+from+" where "+where+" order by "+at+" desc, t.id desc"), append(args, more...)
	}
	switch {
	case f.Order == task.OrderFinished && f.only(task.StatusFailed, task.StatusCancelled):
		f.exact = f.plain() && noLists && f.Key == "" && len(f.IDs) == 0
		for _, status := range f.statuses {
			source(join("ended e", "e.task", true), "e.task", "e.ended", condition{"e.status <> 'succeeded' and e.status = ?", []any{string(status)}})
		}
	case f.Order == task.OrderFinished:
		f.exact = f.plain() && noLists && f.Key == "" && len(f.statuses) == 0 && len(f.IDs) == 0
		for _, null := range []string{"null", "not null"} {
			source(join("ended e", "e.task", true), "e.task", "e.ended", condition{"e.expires is " + null, nil})
		}
	case len(f.IDs) > 0:
		source("tasks t", "t.n", "t.created", oneOf("t.id", f.IDs)...)
	case f.Key != "":
		f.exact = f.plain() && noLists && len(f.statuses) == 0
		source("tasks t", "t.n", "t.created", condition{"t.key <> '' and t.key = ?", []any{f.Key}})
	case f.only(task.StatusFailed, task.StatusCancelled):
		f.exact = f.plain() && noLists
		for _, status := range f.statuses {
			source(join("ended e", "e.task", true), "e.task", "e.created", condition{"e.status <> 'succeeded' and e.status = ?", []any{string(status)}})
		}
	case f.only(task.StatusRunning):
		f.exact = f.plain()
		source(join("running r", "r.task", true), "r.task", "t.created", f.lists()...)
	default:
		waits, err := s.fewWaiting(ctx, f)
		if err != nil {
			return "", nil, err
		}
		if waits == nil {
			f.exact = f.plain() && noLists && len(f.statuses) == 0
			source("tasks t", "t.n", "t.created")
			break
		}
		f.exact = f.plain()
		source(join("waiting w", "w.task", true), "w.task", "t.created", append(waits, f.lists()...)...)
	}
	most := f.looks
	if f.exact {
		most = f.most
	}
	if len(sources) == 1 {
		return sources[0] + " limit ?", append(args, most), nil
	}
	// Each source is sorted, and they are merged.
	return "select n, at, id from (" + strings.Join(parts(sources), " union all ") + ") order by at desc, id desc limit ?", append(interleaved(args, len(sources), most), most), nil
}

// parts adds a bound to each source.
func parts(sources []string) []string {
	bounded := make([]string, len(sources))
	for i, text := range sources {
		bounded[i] = "select * from (" + text + " limit ?)"
	}
	return bounded
}

// interleaved adds the bound to the arguments of each source. All sources have the same number of
// arguments.
func interleaved(args []any, sources, most int) (all []any) {
	each := len(args) / sources
	for i := range sources {
		all = append(append(all, args[i*each:(i+1)*each]...), most)
	}
	return all
}

// lists returns the conditions for kinds and queues.
func (f *search) lists() []condition {
	return append(oneOf("t.kind", f.kinds), oneOf("t.queue", f.queues)...)
}

// fewWaiting returns the conditions for waiting tasks, if the query asks for these alone and few
// tasks wait, and nil otherwise.
func (s *Store) fewWaiting(ctx context.Context, f *search) (waits []condition, err error) {
	if !f.only(task.StatusQueued, task.StatusInterrupted) {
		return nil, nil
	}
	name := "FewWait"
	switch {
	case len(f.statuses) == 2:
		waits = []condition{{"true", nil}}
	case f.statuses[0] == task.StatusInterrupted:
		// The same condition as that of the index.
		name, waits = "FewInterrupted", []condition{{"w.interrupted = 1", nil}}
	default:
		waits = []condition{{"w.interrupted = 0", nil}}
	}
	few := false
	if err := one(ctx, s.reader, name, []any{fewWait}, &few); err != nil || !few {
		return nil, err
	}
	return waits, nil
}

// looked returns the condition for all filters of the query, on the current state of a task.
func (f *search) looked() (text string, args []any) {
	all := append(f.lists(), oneOf(statusOfTask, f.statuses)...)
	all = append(all, oneOf("coalesce(r.reason, e.reason, w.reason)", f.Reasons)...)
	all = append(all, within("t.created", f.Created)...)
	all = append(all, within("coalesce(r.started, e.started, l.started, 0)", f.Started)...)
	all = append(all, within("coalesce(e.ended, 0)", f.Finished)...)
	if f.Key != "" {
		all = append(all, condition{"t.key = ?", []any{f.Key}})
	}
	if f.Worker != "" {
		all = append(all, condition{"coalesce(r.worker, e.worker, l.worker, '') = ?", []any{f.Worker}})
	}
	if f.ErrorText != "" {
		all = append(all, condition{"instr(coalesce(r.error, e.error, w.error), ?) > 0", []any{f.ErrorText}})
	}
	if len(f.IDs) > 0 {
		all = append(all, oneOf("t.id", f.IDs)...)
	}
	for key, value := range f.Meta {
		all = append(all, condition{"t.meta is not null and exists (select 1 from json_each(t.meta) m where m.key = ? and m.value = ?)", []any{key, value}})
	}
	return joined(append(all, condition{"true", nil}))
}

const statusOfTask = `case when r.task is not null then 'running' when e.task is not null then e.status when w.interrupted then 'interrupted' else 'queued' end`

// joined joins conditions with "and".
func joined(all []condition) (text string, args []any) {
	texts := make([]string, len(all))
	for i, c := range all {
		texts[i] = c.text
		args = append(args, c.args...)
	}
	return strings.Join(texts, " and "), args
}

// join joins a table with tasks; with before, the table is read before tasks, otherwise after.
func join(table, number string, before bool) string {
	if before {
		return table + " cross join tasks t on t.n = " + number
	}
	return "tasks t cross join " + table + " on t.n = " + number
}

func (s *Store) find(ctx context.Context, q task.Query) ([]task.Task, error) {
	f, err := s.searchOf(ctx, q)
	if err != nil || f == nil {
		return nil, err
	}
	text, args, err := s.statement(ctx, f)
	if err != nil {
		return nil, err
	}
	if f.exact {
		return s.tasks(ctx, f, "where t.n in (select n from ("+text+"))", args...)
	}
	return s.look(ctx, f, text, args)
}

// tasks reads the tasks that meet a condition, in the order of the listing.
func (s *Store) tasks(ctx context.Context, f *search, where string, args ...any) (found []task.Task, err error) {
	name, scan := "Tasks", scanTask
	if f.Brief {
		name, scan = "Outlines", scanOutline
	}
	rows, err := s.read.QueryContext(ctx, statements[name]+"\n"+where, args...)
	if err != nil {
		return nil, err
	}
	err = eachRow(rows, func(rows *sql.Rows) error {
		found = append(found, task.Task{})
		return scan(rows, &found[len(found)-1])
	})
	slices.SortFunc(found, func(a, b task.Task) int {
		x, y := f.PositionOf(a), f.PositionOf(b)
		return cmp.Or(y.At.Compare(x.At), cmp.Compare(y.ID, x.ID))
	})
	return found, err
}

// scanOutline reads a row of the statement Outlines.
func scanOutline(row *sql.Rows, t *task.Task) error {
	var created, since int64
	err := row.Scan(&t.ID, &created, &t.Status, &since)
	t.Created, t.Since = at(created), at(since)
	if t.Status.Ended() {
		t.Finished = t.Since
	}
	return err
}

// look checks each task that a statement returns, until it has as many as are wanted or may check
// no more.
func (s *Store) look(ctx context.Context, f *search, text string, args []any) (found []task.Task, err error) {
	condition, more := f.looked()
	rows, err := s.read.QueryContext(ctx, "with c as materialized ("+text+") select c.n, c.at, c.id, "+condition+` from c join tasks t on t.n = c.n
left join running r on r.task = c.n left join ended e on e.task = c.n left join waiting w on w.task = c.n
left join runs l on l.task = w.task and l.run = w.run order by c.at desc, c.id desc`, append(args, more...)...)
	if err != nil {
		return nil, err
	}
	var (
		numbers []int64
		looked  int
		last    task.Position
	)
	enough := errors.New("enough")
	err = eachRow(rows, func(rows *sql.Rows) error {
		if len(numbers) == f.most {
			return enough
		}
		var (
			number, when int64
			hit          bool
		)
		if err := rows.Scan(&number, &when, &last.ID, &hit); err != nil {
			return err
		}
		looked++
		if last.At = at(when); hit {
			numbers = append(numbers, number)
		}
		return nil
	})
	if err != nil && !errors.Is(err, enough) {
		return nil, err
	}
	arg, err := list(numbers)
	if err != nil {
		return nil, err
	}
	if found, err = s.tasks(ctx, f, "where t.n in (select value from json_each(?))", arg); err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(t task.Task) bool { return !f.still(t) })
	if len(found) < f.most && (looked == f.looks || len(numbers) == f.most) {
		last.Order = f.Order
		return found, &task.MoreError{After: last.String()}
	}
	return found, nil
}

// still reports whether a task that was found a moment ago still matches the query.
func (f *search) still(t task.Task) bool {
	if f.Brief { // the other fields are missing; only the status can have changed
		return (len(f.statuses) == 0 || slices.Contains(f.statuses, t.Status)) && (f.Order != task.OrderFinished || t.Status.Ended())
	}
	return f.Admits(t)
}
