package task

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Query defines which tasks are wanted, and in which order. A zero field matches every task; with
// several fields a task must match all of them.
//
// Stores have indexes for the usual fields. A query that has only IDs, Status, Kind, Queue, Key,
// their lists, Created, and in the order of ends Finished, begins at the right place. For the other
// fields a store reads task by task, and reports where it stopped (rule 53).
type Query struct {
	// IDs are the ids of the wanted tasks.
	IDs []string
	// Status, Kind, Queue and Key are those of the wanted tasks.
	Status           Status
	Kind, Queue, Key string
	// Statuses, Kinds and Queues list several: a task must have one of each list.
	Statuses      []Status
	Kinds, Queues []string
	// Reasons are the values of Task.Reason that are wanted.
	Reasons []Reason
	// Worker is the incarnation that has the task's present run or had its last one.
	Worker string
	// ErrorText must be a part of Task.Error, character by character.
	ErrorText string
	// Created, Started and Finished bound when the task was created, when its last run began, and when
	// the task ended.
	Created, Started, Finished Span
	// Meta has pairs, all of which a task must have.
	Meta map[string]string
	// Order is the order of the answer; empty means OrderCreated.
	Order Order
	// After continues a listing: only the tasks that follow it in the order. It is the Next of a
	// [Page], a [Position], or in the order of creation also the id of a task (rule 18).
	After string
	// Limit bounds the answer; zero is 100.
	Limit int
	// Look bounds how many tasks are read for fields without an index; zero means 10,000 (rule 53).
	Look int
	// Brief: only ID, Status, Created, Since and Finished are wanted. The other fields of a task may
	// be left empty.
	Brief bool
}

// Span is the time from From until before To. A zero bound is none.
type Span struct {
	// From is its first moment, To the first one after it.
	From, To time.Time
}

// IsZero reports whether the span has no bounds.
func (s Span) IsZero() bool { return s.From.IsZero() && s.To.IsZero() }

// Has reports whether a time is in the span. The zero time is only in one without bounds.
func (s Span) Has(t time.Time) bool {
	return s.IsZero() || !t.IsZero() && (s.From.IsZero() || !t.Before(s.From)) && (s.To.IsZero() || t.Before(s.To))
}

// Order is the order of a listing.
type Order string

const (
	// OrderCreated: tasks that were created last come first, then those with the larger id.
	OrderCreated Order = "created"
	// OrderFinished: only tasks that have ended. Those that ended last come first, then those with the
	// larger id.
	OrderFinished Order = "finished"
)

// defaultLook is how many tasks a query reads, unless it says otherwise.
const defaultLook = 10_000

// maxLists bounds the combinations of a query's lists: each is searched separately.
const maxLists = 100

// Looks returns how many tasks a store reads for a query, at most.
func (q Query) Looks() int { return max(cmp.Or(q.Look, defaultLook), 1) }

// AllStatuses, AllKinds and AllQueues join Status, Kind and Queue with their lists. An empty result
// means that the query has no such field; if ok is false no task matches.
func (q Query) AllStatuses() (all []Status, ok bool) { return joined(q.Status, q.Statuses) }

// AllKinds does the same for kinds, see AllStatuses.
func (q Query) AllKinds() (all []string, ok bool) { return joined(q.Kind, q.Kinds) }

// AllQueues does the same for queues, see AllStatuses.
func (q Query) AllQueues() (all []string, ok bool) { return joined(q.Queue, q.Queues) }

func joined[T ~string](one T, several []T) (all []T, ok bool) {
	switch {
	case one == "":
		return slices.Compact(slices.Sorted(slices.Values(several))), true
	case len(several) == 0 || slices.Contains(several, one):
		return []T{one}, true
	}
	return nil, false
}

// Admits reports whether a task matches all fields of the query, whatever After and Limit are.
func (q Query) Admits(t Task) bool {
	among := func(n int, has bool) bool { return n == 0 || has }
	for key, value := range q.Meta {
		if has, ok := t.Meta[key]; !ok || has != value {
			return false
		}
	}
	return among(len(q.IDs), slices.Contains(q.IDs, t.ID)) &&
		(q.Status == "" || t.Status == q.Status) && among(len(q.Statuses), slices.Contains(q.Statuses, t.Status)) &&
		(q.Kind == "" || t.Kind == q.Kind) && among(len(q.Kinds), slices.Contains(q.Kinds, t.Kind)) &&
		(q.Queue == "" || t.Queue == q.Queue) && among(len(q.Queues), slices.Contains(q.Queues, t.Queue)) &&
		(q.Key == "" || t.Key == q.Key) && among(len(q.Reasons), slices.Contains(q.Reasons, t.Reason)) &&
		(q.Worker == "" || t.Worker == q.Worker) && strings.Contains(t.Error, q.ErrorText) &&
		q.Created.Has(t.Created) && q.Started.Has(t.Started) && q.Finished.Has(t.Finished) &&
		(q.Order != OrderFinished || t.Status.Ended())
}

// Position is the place in a listing after a task.
type Position struct {
	// Order is the order of the listing.
	Order Order
	// At is when the task was created, or ended, and ID its id.
	At time.Time
	ID string
}

// PositionOf returns the place after a task in the listing of a query.
func (q Query) PositionOf(t Task) Position {
	if q.Order == OrderFinished {
		return Position{OrderFinished, t.Finished, t.ID}
	}
	return Position{OrderCreated, t.Created, t.ID}
}

// String returns the position as a [Query]'s After has it: a text without meaning for others.
func (p Position) String() string {
	letter := "c"
	if p.Order == OrderFinished {
		letter = "f"
	}
	return letter + strconv.FormatInt(p.At.UnixNano(), 10) + "." + p.ID
}

// ParsePosition parses the result of Position.String, and reports whether the text is a position.
func ParsePosition(text string) (p Position, ok bool) {
	if text == "" || text[0] != 'c' && text[0] != 'f' {
		return p, false
	}
	at, id, found := strings.Cut(text[1:], ".")
	nanos, err := strconv.ParseInt(at, 10, 64)
	if !found || err != nil || checkIDForm(id) != nil {
		return p, false
	}
	order := OrderCreated
	if text[0] == 'f' {
		order = OrderFinished
	}
	return Position{order, time.Unix(0, nanos), id}, true
}

// MoreError means that [Store.Find] has read as many tasks as it may before it had as many as were
// wanted (rule 53). The tasks that it has found are returned with the error. [Client.Find] and
// [Client.List] handle it.
type MoreError struct {
	// After is where to go on.
	After string
}

// Error returns the text, with the place where to go on.
func (e *MoreError) Error() string {
	return "task: not all tasks were looked at: go on after " + e.After
}

// check refuses a query that no store can answer.
func (q Query) check() error {
	statuses, _ := q.AllStatuses()
	kinds, _ := q.AllKinds()
	queues, _ := q.AllQueues()
	if n := max(len(statuses), 1) * max(len(kinds), 1) * max(len(queues), 1); n > maxLists {
		return invalid("the lists of statuses, kinds and queues have %d combinations, at most %d are looked for at once: ask several times", n, maxLists)
	}
	for _, s := range statuses {
		if !slices.Contains(Statuses(), s) {
			return invalid("no status is called %.40q: use some of %v", s, Statuses())
		}
	}
	for what, text := range map[string]string{"key": q.Key, "worker": q.Worker, "text in the error": q.ErrorText} {
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return invalid("the %s %.40q is no text: it must be UTF-8 without NUL", what, text)
		}
	}
	for _, s := range []Span{q.Created, q.Started, q.Finished} {
		for _, t := range []time.Time{s.From, s.To} {
			if year := t.UTC().Year(); !t.IsZero() && (year < 1970 || year > 2200) {
				return invalid("the time %v is out of reach: use one from 1970 to 2200", t)
			}
		}
	}
	switch q.Order {
	case "", OrderCreated, OrderFinished:
	default:
		return invalid("no order is called %.40q: use %s or %s", q.Order, OrderCreated, OrderFinished)
	}
	return checkMeta(q.Meta)
}

// Start returns the place after which a listing begins, from After; false means the beginning. If
// After is a task's id, the position has no time: the store has it.
func (q Query) Start() (p Position, ok bool, err error) {
	if q.After == "" {
		return p, false, nil
	}
	order := cmp.Or(q.Order, OrderCreated)
	p, ok = ParsePosition(q.After)
	switch {
	case ok && p.Order != order:
		return p, false, invalid("%.80q is a place in the order %s, and the listing has the order %s: begin it again", q.After, p.Order, order)
	case ok:
		return p, true, nil
	case order == OrderFinished:
		return p, false, invalid("%.80q is no place in the order of ends: go on with the Next of the page before", q.After)
	}
	if err := checkIDForm(q.After); err != nil {
		return p, false, err
	}
	return Position{OrderCreated, time.Time{}, q.After}, true, nil
}

// Page is a part of a listing.
type Page struct {
	// Tasks are those of the page. There may be none although more follow.
	Tasks []Task
	// Next is the After of the next page, empty when there is none.
	Next string
}
