package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

func TestSubmitMany_TakesNothingButATaskOnALine(t *testing.T) {
	for line, want := range map[string]string{
		`{"kind":"k","payload":1}}{"kind":"k","payload":2}`:      "not understood",
		`{"kind":"k","payload":1}],{"kind":"k","payload":2}`:     "not understood",
		`{"kind":"k","payload":1}]]] garbage`:                    "not understood",
		`{"kind":"k","payload":1}{"kind":"k","payload":2}`:       "something follows the JSON object",
		`{"kind":"k","payload":1} "more"`:                        "something follows the JSON object",
		`{"KIND":"k","payload":1}`:                               `"KIND" is not known`,
		`{"kind":"k","kind":"m","payload":1}`:                    `"kind" is given twice`,
		`{"kind":"k","payload":1,"payload":2}`:                   `"payload" is given twice`,
		`{"kind":"k","payload":1,"delay":null}`:                  `"delay" is null`,
		`{"kind":null,"payload":1}`:                              `"kind" is null`,
		`{"payload":1}`:                                          "kind",
		`{"kind":"k"}`:                                           `"payload" is missing`,
		"{\"kind\":\"k\",\"payload\":1,\"key\":\"caf\xe9\"}":     "not UTF-8",
		"{\"kind\":\"k\",\"payload\":\"caf\xe9\"}":               "not UTF-8",
		`{"kind":"k","payload":1,"key":"\ud83d"}`:                "half a character",
		`{"kind":"k","payload":1,"queue":"q","key":"\ud83e..."}`: "half a character",
		`["k", 1]`: "must be a JSON object",
		`null`:     "must be a JSON object",
	} {
		g := newFixture(t)
		out, _, err := runWith(t, line+"\n", "submit", "--many", "-", "--store", "sqlite:"+g.path)
		if err == nil || !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "line 1: ") {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
		if all, err := g.client.Find(t.Context(), task.Query{}); err != nil || len(all) != 0 || out != "" {
			t.Errorf("%s: %d tasks are submitted, and %q printed; %v", line, len(all), out, err)
		}
	}
}

func TestSubmitMany_TakesAFileThatBeginsWithAByteOrderMark(t *testing.T) {
	g := newFixture(t)
	lines := "\ufeff" + `{"kind":"k","payload":1,"key":"\ud83d\ude00"}` + "\r\n" + `{"kind":"k","payload":2,"queue":"q"}`
	if _, _, err := runWith(t, lines, "submit", "--many", "-", "--store", "sqlite:"+g.path); err != nil {
		t.Fatal(err)
	}
	all, err := g.client.Find(t.Context(), task.Query{})
	if err != nil || len(all) != 2 || all[0].Queue != "q" || all[1].Queue != task.DefaultQueue || all[1].Key != "\U0001F600" {
		t.Errorf("%+v, %v", all, err)
	}
}
