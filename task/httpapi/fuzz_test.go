package httpapi

import (
	"encoding/json"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/lastcall-go/lastcall/task"
)

func FuzzHandler_ANewTaskIsDecodedOrRefused(f *testing.F) {
	f.Add(`{"kind": "k", "payload": {}}`)
	f.Add(`{"id": "` + someID + `", "kind": "a/b", "payload": null, "queue": "q", "key": "K", "priority": -7, "delay": "1m30s"} `)
	f.Add(`{"kind": "k", "payload": 1, "payload": 2}`)
	f.Add(`{"kind": "\u0000", "payload": "\ud800", "key": "\u0000"}`)
	f.Add(`{"kind": "k", "payload": [[[[1e999]]]], "priority": 1e2}`)
	f.Add("{\"kind\": \"k\", \"payload\": \"\xff\"}")
	f.Add(`{"kind": "k", "payload": 1, "meta": {"a": "\u0001", "b": ""}}`)
	f.Fuzz(func(t *testing.T, body string) {
		n, err := new(Handler).decodeNewTask([]byte(body))
		if err != nil {
			if p := problemOf(err); p.Status >= 500 || p.Detail == "" {
				t.Errorf("%q: %+v", body, p)
			}
			return
		}
		if !json.Valid(n.Payload) || !utf8.Valid(n.Payload) || !strings.Contains(body, string(n.Payload)) || !isID(n.ID) || n.Kind == "" || n.Queue == "" {
			t.Errorf("%q: %+v, payload %q", body, n, n.Payload)
		}
		// What a client encodes is decoded as the same.
		line, err := encodeNewTask(n)
		if err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		again, err := new(Handler).decodeNewTask(line)
		if err != nil || again.ID != n.ID || again.Kind != n.Kind || again.Queue != n.Queue || again.Key != n.Key || again.Priority != n.Priority || !maps.Equal(again.Meta, n.Meta) ||
			again.Delay != n.Delay.Round(time.Microsecond) && n.Delay >= time.Microsecond || again.OnConflict != n.OnConflict ||
			again.KeyFor != n.KeyFor.Round(time.Microsecond) && n.KeyFor >= time.Microsecond {
			t.Errorf("%q: %+v, then %+v, %v", body, n, again, err)
		}
	})
}

// A batch is split into lines, whose lengths are bounded, and every line has its answer.
func FuzzBatch_OfLinesHasAnAnswerForEachOrIsRefused(f *testing.F) {
	f.Add("{\"kind\": \"k\", \"payload\": 1}\n\nnonsense\r\n{\"kind\": \"k\", \"payload\": {}}")
	f.Add("\n\n\n")
	f.Add("\xff\x00\n{")
	f.Add(strings.Repeat("{", 5000) + "\n")
	f.Fuzz(func(t *testing.T, body string) {
		b := batch{h: new(Handler)}
		lines := wholeLines(strings.NewReader(body))
		wanted := 0
		for lines.Scan() {
			if strings.TrimSpace(lines.Text()) != "" {
				wanted++
			}
			if len(b.pending) == batchStep-1 || !b.add(lines.Bytes()) {
				return // from here on there would have to be a store
			}
		}
		if err := lines.Err(); err != nil {
			t.Errorf("%q: %v", body, err)
		}
		if len(b.answers) != wanted || b.lines > strings.Count(body, "\n")+1 {
			t.Errorf("%q: %d answers for %d lines", body, len(b.answers), wanted)
		}
		for _, at := range b.at {
			if a := b.answers[at]; a.Problem != nil || !isID(a.ID) {
				t.Errorf("%q: %+v is to be recorded", body, a)
			}
		}
	})
}

// The last event that a client names leads to one that exists, or to a reset.
func FuzzEvents_TheLastEventIsFoundOrTheStreamIsReset(f *testing.F) {
	h := newHub(nil, nil, 0)
	h.boot = "boot" // the same in every process of a fuzzer
	h.join()
	for range 10 {
		h.tell(EventTask, someID, struct{}{})
	}
	for n := range uint64(14) {
		f.Add(h.id(n))
	}
	f.Add("")
	f.Add("-")
	f.Add(h.boot + "-18446744073709551615")
	f.Add(h.boot + "-9223372036854775807")
	f.Add(h.boot + "--1")
	f.Fuzz(func(t *testing.T, last string) {
		next := h.resume(last)
		events, _, ok := h.after(next, streamPart)
		if ok && next == 0 {
			t.Errorf("%q: resumed though its last event is not known", last)
		}
		for i, e := range events {
			if e.number != next+uint64(i) || e.number >= h.next {
				t.Errorf("%q: event %d, of which %d is the %dth", last, next, e.number, i)
			}
		}
	})
}

func FuzzHandler_AQueryIsDecodedOrRefused(f *testing.F) {
	f.Add("status=queued&kind=k&queue=q&key=x&limit=5&after=" + someID)
	f.Add("limit=1001")
	f.Add("status=&limit=")
	f.Add("kind=%00&kind=%ff")
	f.Add("id=" + someID + "&id=" + otherID + "&id=%00")
	f.Fuzz(func(t *testing.T, query string) {
		v, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		q, err := decodeQuery(v)
		if err != nil {
			if p := problemOf(err); p.Status != 400 {
				t.Errorf("%q: %+v", query, p)
			}
			return
		}
		if q.Limit < 1 || q.Limit > maxPage || q.After != "" && !isPlace(q.After) || len(q.IDs) > maxIDs {
			t.Errorf("%q: %+v", query, q)
		}
		if _, err := task.ParseStatus(string(q.Status)); q.Status != "" && err != nil {
			t.Errorf("%q: %v", query, err)
		}
	})
}

func FuzzTokens_ATokenFileIsReadOrRefusedWithoutItsSecrets(f *testing.F) {
	f.Add("# comment\nname read,submit,operate abcdefghijklmnopqrstuvwxyz\n")
	f.Add("a read abcdefghijklmnopqrstuvwxyz\na read bbcdefghijklmnopqrstuvwxyz")
	f.Add("a read\n")
	f.Add("\xff \x00 ,")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseTokens([]byte(text))
		if err == nil {
			if len(all) == 0 {
				t.Errorf("%q: no token and no error", text)
			}
			for _, token := range all {
				if token.name == "" || len(token.roles) == 0 {
					t.Errorf("%q: %+v", text, token)
				}
			}
			return
		}
		for _, word := range strings.Fields(text) {
			if len(word) >= minSecret && strings.Count(text, word) == 1 && strings.Contains(err.Error(), word) {
				t.Errorf("%q: the error has a word of the file: %v", text, err)
			}
		}
	})
}

func FuzzBatch_TheAnswerToABatchIsReadOrRefused(f *testing.F) {
	f.Add(`{"line":1,"id":"x","outcome":"existing"}` + "\n" + `{"line":2,"problem":{"detail":"d"}}`)
	f.Add("\n")
	f.Fuzz(func(t *testing.T, text string) {
		lines, err := decodeBatch([]byte(text))
		if err == nil && len(lines) > strings.Count(text, "\n")+1 {
			t.Errorf("%q: %d answers", text, len(lines))
		}
	})
}
