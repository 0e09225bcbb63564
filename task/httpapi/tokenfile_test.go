package httpapi

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// written is a token file in a bubble: its times are those of the bubble's clock.
type written struct {
	t     *testing.T
	path  string
	text  string
	hangs chan struct{} // reading it does not end before this is closed
}

func (f *written) read(path string) (foundTokens, error) {
	if f.hangs != nil {
		<-f.hangs
	}
	return readTokenFile(path)
}

// write writes it in place.
func (f *written) write(text string, at time.Time) {
	f.t.Helper()
	f.text = text
	if err := os.WriteFile(f.path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Chtimes(f.path, at, at); err != nil {
		f.t.Fatal(err)
	}
}

// inBubble runs a test in fake time, with a token file of that text.
func inBubble(t *testing.T, text string, test func(t *testing.T, m *written, tokens *Tokens, log *logBook)) {
	synctest.Test(t, func(t *testing.T) {
		m, log := &written{t: t, path: filepath.Join(t.TempDir(), "tokens")}, &logBook{}
		m.write(text, time.Now().Add(-time.Hour))
		tokens := &Tokens{path: m.path, log: slog.New(slog.NewTextHandler(log, nil)), read: m.read}
		if err := tokens.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(recheckAfter)
		test(t, m, tokens, log)
	})
}

// admits tries a secret, and returns how long the answer took.
func admits(tokens *Tokens, secret string) (ok bool, took time.Duration) {
	began := time.Now()
	_, err := tokens.admit(http.Header{"Authorization": {"Bearer " + secret}}, RoleRead)
	return err == nil, time.Since(began)
}

func TestTokens_AFileThatIsHalfWrittenIsTakenWhenItIsWhole(t *testing.T) {
	inBubble(t, "a read "+readSecret, func(t *testing.T, m *written, tokens *Tokens, log *logBook) {
		whole := "a read " + readSecret + "\nb read " + submitSecret + operateSecret + "\n"
		// Each part would be a good file.
		for i := len("a read " + readSecret + "\nb read " + submitSecret); i < len(whole); i++ {
			m.write(whole[:i], time.Now())
			time.Sleep(settled / 2)
			if half, _ := admits(tokens, m.text[strings.LastIndexByte(m.text, ' ')+1:]); half {
				t.Fatalf("a token that was cut is good: %q", m.text)
			}
			if ok, _ := admits(tokens, readSecret); !ok {
				t.Fatal("the old token is not good while the file is written")
			}
		}
		m.write(whole, time.Now())
		time.Sleep(settled + recheckAfter)
		if ok, _ := admits(tokens, submitSecret+operateSecret); !ok {
			t.Errorf("the file is whole, and was not taken:\n%s", log)
		}
		if strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("it was complained of:\n%s", log)
		}
	})
}

func TestTokens_AFileThatStaysHalfWrittenGivesNoShorterTokenForTenSecondsAndTheLogSaysSo(t *testing.T) {
	inBubble(t, "a read "+readSecret, func(t *testing.T, m *written, tokens *Tokens, log *logBook) {
		m.write("a read "+readSecret+"\nb read "+submitSecret, time.Now()) // the second half is to come
		began := time.Now()
		for time.Since(began) < settledUnfinished {
			if half, _ := admits(tokens, submitSecret); half {
				t.Fatalf("after %v the first half of a secret is a secret", time.Since(began))
			}
			if ok, _ := admits(tokens, readSecret); !ok {
				t.Fatal("the old token is not good while the file is written")
			}
			time.Sleep(time.Second / 2)
		}
		if n := strings.Count(log.String(), "does not end with a newline"); n != 1 {
			t.Errorf("the log says %d times that it waits:\n%s", n, log)
		}
		time.Sleep(recheckAfter)
		if ok, _ := admits(tokens, submitSecret); !ok {
			t.Errorf("nobody finishes it, and it is not taken:\n%s", log)
		}
	})
}

func TestTokens_AReloadTakesAFileWithoutANewlineAtItsEndAfterASecond(t *testing.T) {
	inBubble(t, "a read "+readSecret, func(t *testing.T, m *written, tokens *Tokens, _ *logBook) {
		m.write("b read "+submitSecret, time.Now())
		began := time.Now()
		if err := tokens.Reload(t.Context()); err != nil || time.Since(began) > settled+settleStep {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if ok, _ := admits(tokens, submitSecret); !ok {
			t.Error("it was not taken")
		}
	})
}

func TestTokens_AFileOfAnotherClockIsTakenWhenTwoLooksFindItTheSame(t *testing.T) {
	inBubble(t, "a read "+readSecret, func(t *testing.T, m *written, tokens *Tokens, _ *logBook) {
		m.write("b read "+submitSecret+"b\n", time.Now().Add(time.Hour))
		if ok, _ := admits(tokens, readSecret); !ok {
			t.Error("it was taken at once")
		}
		time.Sleep(settled)
		if ok, _ := admits(tokens, readSecret); ok {
			t.Error("it was not taken a second later")
		}
	})
}

func TestTokens_ATokenThatWasRevokedWhileNobodyAskedIsRefusedTheFirstTime(t *testing.T) {
	inBubble(t, "a read "+readSecret+"\nb read "+submitSecret, func(t *testing.T, m *written, tokens *Tokens, _ *logBook) {
		m.write("b read "+submitSecret, time.Now())
		time.Sleep(time.Hour)
		if ok, _ := admits(tokens, readSecret); ok {
			t.Error("it is good")
		}
	})
}

func TestTokens_AFileThatHangsHoldsUpNobodyAndIsComplainedOfOnceAMinute(t *testing.T) {
	inBubble(t, "a read "+readSecret, func(t *testing.T, m *written, tokens *Tokens, log *logBook) {
		m.hangs = make(chan struct{})
		ok, took := admits(tokens, readSecret)
		if !ok || took > lookPatience {
			t.Errorf("the first request: %v after %v", ok, took)
		}
		began := time.Now()
		for time.Since(began) < 3*time.Minute {
			if ok, took := admits(tokens, readSecret); !ok || took > 0 {
				t.Fatalf("a later request: %v after %v", ok, took)
			}
			time.Sleep(time.Second)
		}
		if n := strings.Count(log.String(), "reading it does not end"); n != 3 {
			t.Errorf("it was complained of %d times in three minutes:\n%s", n, log)
		}
		close(m.hangs)
		synctest.Wait()
		m.write("b read "+submitSecret+"b\n", time.Now())
		time.Sleep(settled + recheckAfter)
		if ok, _ := admits(tokens, submitSecret+"b"); !ok {
			t.Errorf("the file answers again, and was not read:\n%s", log)
		}
	})
}

func TestTokens_AReloadOfAFileThatHangsEndsWithItsContext(t *testing.T) {
	inBubble(t, "a read "+readSecret, func(t *testing.T, m *written, tokens *Tokens, _ *logBook) {
		m.hangs = make(chan struct{})
		began := time.Now()
		if err := tokens.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "it cannot be read, or changes all the time") || time.Since(began) != reloadPatience {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		close(m.hangs)
	})
}

func TestTokens_AFileThatIsEmptyOrGoneTakesNobodysTokenAwayAndIsComplainedOfOnceAMinute(t *testing.T) {
	inBubble(t, "a read "+readSecret, func(t *testing.T, m *written, tokens *Tokens, log *logBook) {
		m.write("", time.Now())
		began := time.Now()
		for time.Since(began) < 5*time.Minute {
			if ok, _ := admits(tokens, readSecret); !ok {
				t.Fatal("an empty file took the token away")
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := strings.Count(log.String(), "it has no token"); n != 5 {
			t.Errorf("it was complained of %d times in five minutes:\n%s", n, log)
		}
		m.write("# nobody, for now\nnone\n", time.Now())
		time.Sleep(settled + recheckAfter)
		if ok, _ := admits(tokens, readSecret); ok {
			t.Error("with the line none the token is good")
		}
	})
}

func TestTokens_AFileWithTheLineNoneLetsNobodyInAndSaysSo(t *testing.T) {
	var log logBook
	tokens, err := LoadTokens(tokenFile(t, "none\n"), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil || !strings.Contains(log.String(), "lets nobody in") {
		t.Fatalf("%v:\n%s", err, &log)
	}
	s := serve(t, Config{Tokens: tokens})
	s.refused(s.ask("GET", "/v1/tasks", "", bearer(readSecret)), "unauthorized", "not known")
}

func TestTokens_AFileThatHasJustBeenWrittenIsWaitedForAtTheStart(t *testing.T) {
	path := tokenFile(t, "")
	if err := os.WriteFile(path, []byte("a read "+readSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	tokens, err := LoadTokens(path, slog.New(slog.DiscardHandler))
	if err != nil || time.Since(began) < settled/2 {
		t.Fatalf("%v after %v", err, time.Since(began))
	}
	if ok, _ := admits(tokens, readSecret); !ok {
		t.Error("its token is not good")
	}
}
