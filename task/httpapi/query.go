package httpapi

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lastcall-go/lastcall/task"
)

// The filters of a list in the words of this API: the parameters of GET /v1/tasks, and the members
// of a bulk command's filter.

// filterNames are the members that a filter may have, and listNames those that a list may have in
// addition.
var (
	filterNames = []string{"status", "kind", "queue", "key", "reason", "worker", "error", "createdFrom", "createdTo", "startedFrom", "startedTo",
		"finishedFrom", "finishedTo", "meta"}
	listNames = []string{"id", "order", "limit", "after"}
)

// decodeQuery decodes the query of a list.
func decodeQuery(v url.Values) (task.Query, error) {
	q := task.Query{Limit: defaultPage}
	for name, values := range v {
		if name == "meta" {
			var err error
			if q.Meta, err = pairs(values); err != nil {
				return q, err
			}
			continue
		}
		if name == "id" {
			if len(values) > maxIDs || slices.ContainsFunc(values, func(id string) bool { return !isID(id) }) {
				return q, problem("invalid", "id is not understood: give up to %d, each a UUID in lower case", maxIDs)
			}
			q.IDs = values
			continue
		}
		if len(values) != 1 {
			return q, problem("invalid", "%.40q is given %d times: give it once", name, len(values))
		}
		if values[0] == "" {
			continue // as a form has it that was not filled in
		}
		if err := decodeField(&q, name, values[0]); err != nil {
			return q, err
		}
	}
	return q, nil
}

// decodeField reads one parameter, which is not empty.
func decodeField(q *task.Query, name, given string) (err error) {
	if !utf8.ValidString(given) || strings.Contains(given, "\x00") {
		return problem("invalid", "%.40q is not text", name)
	}
	switch name {
	case "status":
		for one := range strings.SplitSeq(given, ",") {
			s, err := task.ParseStatus(one)
			if err != nil {
				return problem("invalid", "%v", err)
			}
			q.Statuses = append(q.Statuses, s)
		}
	case "kind":
		q.Kinds = strings.Split(given, ",")
	case "queue":
		q.Queues = strings.Split(given, ",")
	case "key":
		q.Key = given
	case "reason":
		for one := range strings.SplitSeq(given, ",") {
			q.Reasons = append(q.Reasons, task.Reason(one))
		}
	case "worker":
		q.Worker = given
	case "error":
		q.ErrorText = given
	case "order":
		q.Order = task.Order(given)
	case "after":
		if !isPlace(given) {
			return problem("invalid", "after is %.40q: give \"next\" of the page before, or the id of the last task that you have", given)
		}
		q.After = given
	case "limit":
		n, err := strconv.Atoi(given)
		if err != nil || n < 1 || n > maxPage {
			return problem("invalid", "limit is %.20q: give a number from 1 to %d", given, maxPage)
		}
		q.Limit = n
	default:
		at := timeOf(q, name)
		if at == nil {
			return problem("invalid", "%.40q is not known: a list takes %s", name, strings.Join(slices.Concat(filterNames, listNames), ", "))
		}
		if *at, err = time.Parse(time.RFC3339, given); err != nil {
			return problem("invalid", "%s is %.40q: give a time as 2026-01-02T03:04:05Z", name, given)
		}
	}
	return nil
}

// isPlace reports whether a list can go on after a text.
func isPlace(after string) bool {
	_, ok := task.ParsePosition(after)
	return ok || isID(after)
}

// timeOf returns the bound of a query that a parameter is for, nil for none.
func timeOf(q *task.Query, name string) *time.Time {
	return map[string]*time.Time{"createdFrom": &q.Created.From, "createdTo": &q.Created.To, "startedFrom": &q.Started.From, "startedTo": &q.Started.To,
		"finishedFrom": &q.Finished.From, "finishedTo": &q.Finished.To}[name]
}

// encodeQuery is the reverse, without limit and after.
func encodeQuery(q task.Query) url.Values {
	v := make(url.Values)
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	statuses := make([]string, 0, len(q.Statuses)+1)
	for _, s := range q.Statuses {
		statuses = append(statuses, string(s))
	}
	reasons := make([]string, 0, len(q.Reasons))
	for _, r := range q.Reasons {
		reasons = append(reasons, string(r))
	}
	set("status", strings.Join(statuses, ","))
	set("kind", strings.Join(q.Kinds, ","))
	set("queue", strings.Join(q.Queues, ","))
	set("key", q.Key)
	set("reason", strings.Join(reasons, ","))
	set("worker", q.Worker)
	set("error", q.ErrorText)
	set("order", string(q.Order))
	for _, name := range filterNames {
		if at := timeOf(&q, name); at != nil && !at.IsZero() {
			set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	for key, value := range q.Meta {
		v.Add("meta", key+"="+value)
	}
	if len(q.IDs) > 0 {
		v["id"] = q.IDs
	}
	return v
}

// decodeFilter decodes the filter of a bulk command. It has the parameters of a list as members;
// those that may have several values are lists of texts, and meta is an object.
func decodeFilter(raw json.RawMessage) (q task.Query, err error) {
	m, err := members(raw)
	if err != nil {
		return q, err
	}
	if err := known(m, "a filter", append(slices.Clone(filterNames), "order")...); err != nil {
		return q, err
	}
	if err := texts(m, "meta", &q.Meta); err != nil {
		return q, err
	}
	delete(m, "meta")
	for name := range m {
		value := ""
		if slices.Contains([]string{"status", "kind", "queue", "reason"}, name) {
			var several []string
			if err := json.Unmarshal(m[name], &several); err != nil || len(several) == 0 || slices.Contains(several, "") {
				return q, problem("invalid", "%q is %.40s: give a list of texts that is not empty, or leave it out", name, m[name])
			}
			value = strings.Join(several, ",")
		} else if err := text(m, name, &value); err != nil {
			return q, err
		}
		if err := decodeField(&q, name, value); err != nil {
			return q, err
		}
	}
	return q, nil
}

// encodeFilter is the reverse.
func encodeFilter(q task.Query) map[string]any {
	filter := make(map[string]any)
	for name, values := range encodeQuery(q) {
		switch name {
		case "meta":
			filter[name] = q.Meta
		case "status", "kind", "queue", "reason":
			filter[name] = strings.Split(values[0], ",")
		default:
			filter[name] = values[0]
		}
	}
	return filter
}

// pairs reads a list's parameter meta, which is given once for each pair.
func pairs(given []string) (map[string]string, error) {
	meta := make(map[string]string, len(given))
	for _, pair := range given {
		if pair == "" && len(given) == 1 {
			continue // as a form has it that was not filled in
		}
		key, value, ok := strings.Cut(pair, "=")
		if _, twice := meta[key]; !ok || key == "" || twice {
			return nil, problem("invalid", "meta is %.80q: give key=value, and each key once", pair)
		}
		meta[key] = value
	}
	return meta, nil
}
