package rehearse

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/fixes"
)

// A program in Python or Java that hangs is made to report where, whether or not it survives that.
func TestThreads_NameTheThreadsThatStayed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		language fixes.Language
		frames   map[string]string // the function and the end of its place
	}{
		{fixes.Python, map[string]string{"work": "/LC102.py:10", "<module>": "/LC102.py:18"}},
		{fixes.Java, map[string]string{"Main.work": "LC102.java:4", "Main.lambda$main$0": "LC102.java:11"}},
	} {
		for _, group := range []bool{false, true} {
			t.Run(string(c.language), func(t *testing.T) {
				t.Parallel()
				fix, err := fixes.Find(string(TooSlow), c.language)
				if err != nil {
					t.Fatal(err)
				}
				r, err := rehearse(t, Config{Program: Container{Command: executable(t, c.language, fix.Broken)}, Grace: time.Second, sharePIDs: group})
				if err != nil {
					t.Fatal(err)
				}
				found := 0
				for _, s := range r.Stacks {
					function, place, _ := strings.Cut(s.Frames[0], " ")
					if end, ok := c.frames[function]; ok && strings.HasSuffix(place, end) && s.Count == 1 {
						found++
					}
				}
				if found != len(c.frames) {
					t.Errorf("%+v, want %v\n%s", r.Stacks, c.frames, describe(r))
				}
				if fails, _ := codes(r); !slices.Equal(fails, []Code{TooSlow}) || r.ExitCode != 137 {
					t.Errorf("fails %v with exit code %d: that it was asked is no end of its own", fails, r.ExitCode)
				}
			})
		}
	}
}

// Threads that do the same are counted. Threads of the virtual machine are left out, but an idle
// thread that keeps the virtual machine alive is not.
func TestThreads_OfJavaAreThoseThatKeepItAlive(t *testing.T) {
	const dump = `2026-01-02 03:04:05
Full thread dump OpenJDK 64-Bit Server VM (17.0.15 mixed mode):

"main" #1 prio=5 nid=0x1 in Object.wait()  [0x1]
   java.lang.Thread.State: WAITING (on object monitor)
	at java.lang.Object.wait(java.base@17.0.15/Native Method)
	- waiting on <0x1> (a java.lang.Object)
	at app.Queue.take(Queue.java:12)
	at app.Main.main(Main.java:3)

"Finalizer" #3 daemon prio=8 nid=0x2 in Object.wait()  [0x2]
   java.lang.Thread.State: WAITING (on object monitor)
	at java.lang.Object.wait(java.base@17.0.15/Native Method)

"pool-1-thread-1" #12 prio=5 nid=0x3 waiting on condition  [0x3]
   java.lang.Thread.State: WAITING (parking)
	at jdk.internal.misc.Unsafe.park(java.base@17.0.15/Native Method)

"pool-1-thread-2" #13 prio=5 nid=0x4 waiting on condition  [0x4]
   java.lang.Thread.State: WAITING (parking)
	at jdk.internal.misc.Unsafe.park(java.base@17.0.15/Native Method)

"VM Thread" os_prio=0 cpu=0.94ms nid=0x5 runnable  

JNI global refs: 4, weak refs: 0
`
	got := javaThreads("working\n" + dump)
	if len(got) != 2 || !slices.Equal(got[0].Frames, []string{"app.Queue.take Queue.java:12", "app.Main.main Main.java:3"}) ||
		got[0].State != "waiting (on object monitor)" || got[1].Count != 2 || got[1].Frames[0] != "jdk.internal.misc.Unsafe.park Native Method" {
		t.Errorf("%+v", got)
	}
}

func TestThreads_AnyText(t *testing.T) {
	for _, text := range []string{
		"", "Full thread dump ", "Full thread dump \n\n\"", "Full thread dump x\n\n\"main\" #1\n   at\n\tat \n", "Full thread dump x\n\n\"main\" #1\n\tat )(\n",
		"Fatal Python error: ", "Fatal Python error: Aborted\n\nThread 0x1 (most recent call first):\n  File \"\n", "  File \"x.py\", line 1 in f\n",
	} {
		for name, read := range map[string]func(string) []Stack{"java": javaThreads, "python": pythonThreads} {
			for _, s := range read(text) {
				if len(s.Frames) == 0 {
					t.Errorf("%s of %q: %+v", name, text, s)
				}
			}
		}
	}
}
