package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"
)

// hostile is text that a terminal would obey. It changes its title, its clipboard, its cursor and
// the direction of writing, and has control characters of eight bits.
const hostile = "\x1b]0;owned\x07\x1b[2J\x1b]52;c;cm0gLXJm\x1b\\\r\u202e\u009b31m\x00\xff\xc3"

func TestScreen_WritesTextAloneHoweverItIsCutIntoPieces(t *testing.T) {
	const text = "tasks: 3\tdone 40% █░ äöü 日本語\n"
	for size := 1; size < 40; size++ {
		var got bytes.Buffer
		s := &screen{to: &got}
		in := text + hostile + "\n" + text
		for len(in) > 0 {
			part := in[:min(size, len(in))]
			in = in[len(part):]
			if n, err := s.Write([]byte(part)); n != len(part) || err != nil {
				t.Fatalf("%d of %d, %v", n, len(part), err)
			}
		}
		if !strings.HasPrefix(got.String(), text) || !strings.HasSuffix(got.String(), text) {
			t.Errorf("in pieces of %d: %q", size, got.String())
		}
		obeyed(t, "in pieces", got.String())
	}
}

// obeyed fails the test if a text does more to a terminal than show characters.
func obeyed(t *testing.T, what, text string) {
	t.Helper()
	for _, r := range text {
		if r == unicode.ReplacementChar || r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			t.Errorf("%s: the terminal gets %q in %.300q", what, r, text)
			return
		}
	}
}

func TestScreen_MovesTheCursorWhenTheCommandItselfDoes(t *testing.T) {
	var got bytes.Buffer
	move(&screen{to: &got}, "\x1b[%dA", 7)
	if got.String() != "\x1b[7A" {
		t.Errorf("%q", got.String())
	}
}

func TestCommands_WhatAHostileServerSaysIsTextOnATerminal(t *testing.T) {
	// It is sent as JSON escapes, so that it arrives unchanged.
	const id = `\u001b]0;owned\u0007\u001b[2J\u202e\u009b31m\nforged`
	body := `{"id":"` + id + `","kind":"` + id + `","queue":"` + id + `","status":"` + id + `","reason":"` + id + `","error":"` + id + `","worker":"` + id +
		`","waitsFor":"` + id + `","progress":{"fraction":0.5,"message":"` + id + `"},"payload":"x","history":[{"run":1,"worker":"` + id + `","host":"` + id + `","status":"` + id + `","error":"` + id + `"}]}`
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := body
		switch {
		case status != http.StatusOK:
			answer = `{"type":"x#y","title":"` + id + `","status":` + "409" + `,"detail":"` + id + `"}`
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
		case strings.HasSuffix(r.URL.Path, "/log"):
			answer = hostile
		case strings.HasSuffix(r.URL.Path, "/workers"):
			answer = `{"workers":[{"worker":"` + id + `","name":"` + id + `","host":"` + id + `","kinds":["` + id + `"],"lease":"1s","state":"` + id + `","liveness":"` + id + `"}]}`
		case strings.HasSuffix(r.URL.Path, "/counts"):
			answer = `{"tasks":[{"queue":"` + id + `","kind":"` + id + `","status":"` + id + `","n":3}],"paused":["` + id + `"]}`
		case r.Method == http.MethodGet && r.URL.Path == "/v1/tasks":
			answer = `{"tasks":[` + body + `]}`
		}
		_, _ = w.Write([]byte(answer))
	}))
	defer server.Close()
	const one = "0197c0de-0000-7000-8000-000000000000"
	for _, status = range []int{http.StatusOK, http.StatusConflict, http.StatusServiceUnavailable} {
		for _, args := range [][]string{
			{"list"}, {"list", "--json"}, {"show", one}, {"show", "--json", one}, {"logs", one}, {"workers"}, {"workers", "--json"},
			{"submit", "k", "1"}, {"submit", "--json", "k", "1"}, {"cancel", one}, {"retry", one}, {"interrupt", one}, {"pause", "q"}, {"resume", "q"},
			{"healthcheck"},
		} {
			var out, remarks bytes.Buffer
			root := newRoot()
			root.SetArgs(append(args, "--server", server.URL))
			screenOut, screenErr := &screen{to: &out}, &screen{to: &remarks}
			root.SetOut(screenOut)
			root.SetErr(screenErr)
			if err := root.ExecuteContext(t.Context()); err != nil {
				complain(screenErr, err)
			}
			what := strings.Join(args, " ")
			if out.Len()+remarks.Len() == 0 && args[0] != "cancel" && args[0] != "retry" && args[0] != "interrupt" && args[0] != "pause" && args[0] != "resume" {
				t.Errorf("%s: nothing was printed at %d", what, status)
			}
			obeyed(t, what, out.String())
			obeyed(t, what, remarks.String())
			if args[0] == "list" && status == http.StatusOK && strings.Contains(out.String(), "\nforged") {
				t.Errorf("%s: a server makes lines of its own: %q", what, out.String())
			}
		}
	}
}
