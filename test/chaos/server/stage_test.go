//go:build linux

package server

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

func TestMain(m *testing.M) {
	Help()
	os.Exit(pgtest.Main(m))
}

// play is a stage with two faults that only count.
type play struct {
	stage
	begun, ended int
	broken       error
}

func (p *play) begin(kind string) (End, error) {
	count := func(p *play, _ context.Context) (ending, error) {
		p.begun++
		return func(context.Context) (string, error) {
			p.ended++
			return "it was long", p.broken
		}, p.broken
	}
	return perform(context.Background(), &p.stage, []act[*play]{
		{Fault{Kind: "alone", Longest: time.Minute, alone: true}, count},
		{Fault{Kind: "beside", Longest: time.Hour}, count},
		{Fault{Kind: "missing", needs: func() error { return errors.New("there is no such tool") }}, count},
	}, kind, p)
}

func TestBegin_FaultsThatChangeTheServerAreAlone(t *testing.T) {
	p := new(play)
	end, err := p.begin("alone")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.begin("alone"); !errors.Is(err, ErrBusy) {
		t.Errorf("a second one: %v", err)
	}
	if _, err := p.begin("beside"); err != nil {
		t.Errorf("another one: %v", err)
	}
	for range 2 {
		if detail, err := end(); err != nil || detail != "it was long" {
			t.Errorf("%q, %v", detail, err)
		}
	}
	if p.ended != 1 {
		t.Errorf("it ended %d times", p.ended)
	}
	if _, err := p.begin("alone"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if err := p.close(); err != nil || p.ended != 3 {
		t.Errorf("%d have ended, %v", p.ended, err)
	}
	if _, err := p.begin("beside"); !errors.Is(err, ErrBusy) {
		t.Errorf("after the close: %v", err)
	}
}

func TestBegin_AFaultThatCannotBeginLeavesTheServerToOthers(t *testing.T) {
	p := &play{broken: errors.New("broken")}
	if _, err := p.begin("alone"); !errors.Is(err, p.broken) {
		t.Errorf("%v", err)
	}
	if _, err := p.begin("missing"); err == nil || !strings.Contains(err.Error(), "no such tool") {
		t.Errorf("%v", err)
	}
	if _, err := p.begin("unknown"); err == nil || !strings.Contains(err.Error(), `"unknown"`) {
		t.Errorf("%v", err)
	}
	p.broken = nil
	end, err := p.begin("alone")
	if err != nil {
		t.Fatal(err)
	}
	p.broken = errors.New("it stays")
	if _, err := end(); !errors.Is(err, p.broken) {
		t.Errorf("%v", err)
	}
	if err := p.close(); err != nil {
		t.Error(err)
	}
}

func TestEnd_AFaultEndsByItselfAfterItsLongestTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(play)
		end, err := p.begin("alone")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if p.ended != 1 {
			t.Errorf("it ended %d times", p.ended)
		}
		if detail, err := end(); err != nil || detail != "it was long" || p.ended != 1 {
			t.Errorf("%q, %v, %d", detail, err, p.ended)
		}
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
}

func TestFaults_EachSaysWhatItDoesAndForHowLong(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range append(ClusterFaults(), FileFaults()...) {
		if seen[f.Kind] || f.Kind == "" || !strings.HasSuffix(f.Doc, ".") || f.Longest <= 0 || f.Longest > 5*time.Minute {
			t.Errorf("%+v", f)
		}
		seen[f.Kind] = true
	}
}
