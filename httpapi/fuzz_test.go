package httpapi

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/lastcall-go/lastcall/task"
)

func FuzzANewTaskIsDecodedOrRefused(f *testing.F) {
	f.Add(`{"kind": "k", "payload": {}}`)
	f.Add(`{"id": "` + someID + `", "kind": "a/b", "payload": null, "queue": "q", "key": "K", "priority": -7, "delay": "1m30s"} `)
	f.Add(`{"kind": "k", "payload": 1, "payload": 2}`)
	f.Add(`{"kind": "\u0000", "payload": "\ud800", "key": "\u0000"}`)
	f.Add(`{"kind": "k", "payload": [[[[1e999]]]], "priority": 1e2}`)
	f.Add("{\"kind\": \"k\", \"payload\": \"\xff\"}")
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
		// What a client makes of it is read as the same.
		line, err := encodeNewTask(n)
		if err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		again, err := new(Handler).decodeNewTask(line)
		if err != nil || again.ID != n.ID || again.Kind != n.Kind || again.Queue != n.Queue || again.Key != n.Key || again.Priority != n.Priority ||
			again.Delay != n.Delay.Round(time.Microsecond) && n.Delay >= time.Microsecond {
			t.Errorf("%q: %+v, then %+v, %v", body, n, again, err)
		}
	})
}

func FuzzAQueryIsDecodedOrRefused(f *testing.F) {
	f.Add("status=queued&kind=k&queue=q&key=x&limit=5&after=" + someID)
	f.Add("limit=1001")
	f.Add("status=&limit=")
	f.Add("kind=%00&kind=%ff")
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
		if q.Limit < 1 || q.Limit > maxPage || q.After != "" && !isID(q.After) {
			t.Errorf("%q: %+v", query, q)
		}
		if _, err := task.ParseStatus(string(q.Status)); q.Status != "" && err != nil {
			t.Errorf("%q: %v", query, err)
		}
	})
}

func FuzzATokenFileIsReadOrRefusedWithoutItsSecrets(f *testing.F) {
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

func FuzzTheAnswerToABatchIsReadOrRefused(f *testing.F) {
	f.Add(`{"line":1,"id":"x","existed":true}` + "\n" + `{"line":2,"problem":{"detail":"d"}}`)
	f.Add("\n")
	f.Fuzz(func(t *testing.T, text string) {
		lines, err := decodeBatch([]byte(text))
		if err == nil && len(lines) > strings.Count(text, "\n")+1 {
			t.Errorf("%q: %d answers", text, len(lines))
		}
	})
}
