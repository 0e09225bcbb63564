import sun.misc.Signal;
import sun.misc.SignalHandler;

/** A worker that ignores the stop signal: only SIGKILL ends it. */
class Main {
    static void work() throws InterruptedException {
        Thread.sleep(200);
    }

    public static void main(String[] args) throws InterruptedException {
        Signal.handle(new Signal("TERM"), SignalHandler.SIG_IGN);
        while (true) {
            work();
        }
    }
}
