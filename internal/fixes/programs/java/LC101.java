import sun.misc.Signal;
import sun.misc.SignalHandler;

/** A worker that is not to be disturbed: only SIGKILL ends it. */
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
