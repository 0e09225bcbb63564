package rehearse

import (
	"testing"
	"time"
)

// A proxy that runs on after the program's exit answers for it with errors, on kept connections for
// ever.
func TestJudgeTraffic_WhatAProxyAnswersAfterTheExitIsNotTheProgramsAnswer(t *testing.T) {
	deleted := time.Now()
	exited, gone := deleted.Add(500*time.Millisecond), deleted.Add(time.Second)
	for _, c := range []struct {
		client client
		begun  time.Time
		want   Code // "" for no finding
	}{
		{slowRequest, exited.Add(-time.Millisecond), NotAnswered},
		{keepAlive, exited.Add(-time.Millisecond), NotAnswered},
		{newConnection, exited.Add(time.Millisecond), RefusedEarly},
		{keepAlive, exited.Add(time.Millisecond), RefusedEarly},
		{keepAlive, gone, ""},
	} {
		r := &rehearsal{
			config: new(Config), plan: Delete.plan(), deleted: deleted, stopped: &program{endedAt: exited},
			traffic: &traffic{
				changes: []change{{gone, false}},
				failed:  []result{{client: c.client, begun: c.begun, end: c.begun.Add(time.Millisecond), failure: serverSaid, text: "502 Bad Gateway"}},
			},
		}
		var found Code
		r.judgeTraffic(func(code Code, _ bool, _ string, _ ...any) { found += code })
		if found != c.want {
			t.Errorf("%s, %v after the deletion: %q, want %q", c.client, c.begun.Sub(deleted), found, c.want)
		}
	}
}
