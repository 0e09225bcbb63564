package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/lastcall-go/lastcall/task"
)

// members reads one JSON object with nothing after it. Names are exact and unique: encoding/json
// would ignore case, and take the last of two.
func members(b []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(b) {
		return nil, problem("invalid", "it is not UTF-8: encode it so, as JSON must be")
	}
	m := make(map[string]json.RawMessage)
	dec := json.NewDecoder(bytes.NewReader(b))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, notJSON(err, "it must be a JSON object")
	}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, notJSON(err, "")
		}
		name, _ := t.(string) // within an object nothing else comes here
		if _, twice := m[name]; twice {
			return nil, problem("invalid", "%.40q is given twice: give it once", name)
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, notJSON(err, "")
		}
		m[name] = v
	}
	if _, err := dec.Token(); err != nil {
		return nil, notJSON(err, "")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, notJSON(err, "something follows the JSON object")
	}
	return m, nil
}

func notJSON(err error, otherwise string) error {
	if err == nil {
		return problem("invalid", "it is not understood: %s", otherwise)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return problem("invalid", "it is not understood: it ends before the JSON object does")
	}
	return problem("invalid", "it is not understood: %v", err)
}

// newTaskNames are the members that a submit may have.
var newTaskNames = []string{"id", "kind", "payload", "queue", "key", "priority", "delay", "startBefore", "meta", "onConflict", "keyFor"}

// ParseNewTask parses a task in the form of a line of POST /v1/tasks/batch, for programs that keep
// tasks in files. It is as strict: names are exact and unique, nothing follows the object, and a
// member that must be a text is one. An error is task.ErrInvalid. The Queue is empty if the line
// names none.
func ParseNewTask(line []byte) (task.NewTask, error) {
	m, err := members(line)
	if err != nil {
		return task.NewTask{}, err
	}
	n, err := newTask(m, nil)
	if _, named := m["queue"]; !named {
		n.Queue = ""
	}
	return n, err
}

// decodeNewTask decodes a new task, of a submit or a line of a batch.
func (h *Handler) decodeNewTask(b []byte) (task.NewTask, error) {
	m, err := members(b)
	if err != nil {
		return task.NewTask{}, err
	}
	return newTask(m, h.waiting)
}

// newTask makes a task from an object's members. waiting has the queues of kinds.
func newTask(m map[string]json.RawMessage, waiting map[string]string) (task.NewTask, error) {
	for name := range m {
		if !slices.Contains(newTaskNames, name) {
			return task.NewTask{}, problem("invalid", "%.40q is not known: a task has %s", name, strings.Join(newTaskNames, ", "))
		}
	}
	if _, ok := m["kind"]; !ok {
		return task.NewTask{}, problem("invalid", `"kind" is missing: name the kind of the task`)
	}
	payload, ok := m["payload"]
	if !ok {
		return task.NewTask{}, problem("invalid", `"payload" is missing: give the task's input, as JSON, or null`)
	}
	if len(payload) > task.MaxPayload {
		return task.NewTask{}, problem("too-large", "the payload has %d bytes, at most %d are kept: put it into a file and submit its name", len(payload), task.MaxPayload)
	}
	var (
		opt                                     task.EnqueueOptions
		kind, delay, before, keyFor, onConflict string
	)
	err := errors.Join(
		text(m, "kind", &kind), text(m, "id", &opt.ID), text(m, "queue", &opt.Queue), text(m, "key", &opt.Key),
		text(m, "delay", &delay), text(m, "startBefore", &before), text(m, "keyFor", &keyFor), text(m, "onConflict", &onConflict),
		whole(m, "priority", &opt.Priority), texts(m, "meta", &opt.Meta))
	if err != nil {
		return task.NewTask{}, err
	}
	if err := errors.Join(duration("delay", delay, &opt.Delay), duration("startBefore", before, &opt.StartBefore), duration("keyFor", keyFor, &opt.KeyFor)); err != nil {
		return task.NewTask{}, err
	}
	if opt.OnConflict, err = task.ParseOnConflict(onConflict); err != nil {
		return task.NewTask{}, problem("invalid", `"onConflict" is %.40q: write existing, replace or discard`, onConflict)
	}
	if opt.Queue == "" {
		opt.Queue = waiting[kind]
	}
	return task.Prepare(kind, payload, &opt)
}

// duration parses a duration, if there is one.
func duration(name, given string, into *time.Duration) (err error) {
	if given == "" {
		return nil
	}
	if *into, err = time.ParseDuration(given); err != nil {
		return problem("invalid", "%q is %.40q: use a duration with its unit, as 90s or 1h30m, of at most a hundred years", name, given)
	}
	return nil
}

// text reads a member that is a text, if there is one. An empty text is refused, since it is more
// likely a mistake.
func text(m map[string]json.RawMessage, name string, into *string) error {
	raw, ok := m[name]
	if !ok {
		return nil
	}
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil || *s == "" {
		return problem("invalid", "%q is %.40s: give a text that is not empty, or leave it out", name, raw)
	}
	if halfCharacter(raw) {
		return problem("invalid", "%q is %.40s: it has half a character, a surrogate without the other one; did something cut a text in its middle?", name, raw)
	}
	*into = *s
	return nil
}

// truth reads a member that is true or false, if there is one.
func truth(m map[string]json.RawMessage, name string, into *bool) error {
	raw, ok := m[name]
	if !ok {
		return nil
	}
	var b *bool
	if err := json.Unmarshal(raw, &b); err != nil || b == nil {
		return problem("invalid", "%q is %.40s: give true or false, or leave it out", name, raw)
	}
	*into = *b
	return nil
}

// texts reads a member that is an object of texts, if there is one.
func texts(m map[string]json.RawMessage, name string, into *map[string]string) error {
	raw, ok := m[name]
	if !ok {
		return nil
	}
	pairs, err := members(raw)
	if err != nil {
		return problem("invalid", "%q is %.40s: give an object whose values are texts, each name once, or leave it out", name, raw)
	}
	*into = make(map[string]string, len(pairs))
	for key, value := range pairs {
		var s *string
		if err := json.Unmarshal(value, &s); err != nil || s == nil {
			return problem("invalid", "%.40q in %q is %.40s: give a text", key, name, value)
		}
		(*into)[key] = *s
	}
	return nil
}

// halfCharacter reports whether a JSON string has a lone surrogate: encoding/json replaces each by
// the same character, so two different strings would become one.
func halfCharacter(raw []byte) bool {
	high := false // a first half came just before
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			if high {
				return true
			}
			continue
		}
		i++ // the sign after it, of which there is always one
		half := rune(-1)
		if raw[i] == 'u' {
			n, err := strconv.ParseUint(string(raw[i+1:i+5]), 16, 32)
			if err == nil && utf16.IsSurrogate(rune(n)) {
				half = rune(n)
			}
			i += 4
		}
		second := half >= 0xDC00
		if high != second {
			return true
		}
		high = half >= 0 && !second
	}
	return high
}

// whole reads a member that is a whole number of 32 bits, if there is one.
func whole(m map[string]json.RawMessage, name string, into *int) error {
	raw, ok := m[name]
	if !ok {
		return nil
	}
	n, err := strconv.ParseInt(string(raw), 10, 32)
	if err != nil {
		return problem("invalid", "%q is %.40s: give a whole number from %d to %d", name, raw, math.MinInt32, math.MaxInt32)
	}
	*into = int(n)
	return nil
}

// isID reports whether a text has the form of a task's id.
func isID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return true
}

// checkTaskID refuses an id that no task can have.
func checkTaskID(id string) error {
	if isID(id) {
		return nil
	}
	return fmt.Errorf("%w: %.80q is not a UUID in lower case", task.ErrNotFound, id)
}
