import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.atomic.AtomicInteger;

/** A worker that is not held up if nobody reads its log, and exits with 0. */
class Main {
    static final int PATIENCE = 1000; // ms for the last lines of the log

    static final BlockingQueue<String> lines = new ArrayBlockingQueue<>(1000);
    static final AtomicInteger unwritten = new AtomicInteger();
    static volatile boolean stopping;

    static void log(String line) {
        unwritten.incrementAndGet();
        if (!lines.offer(line)) {
            unwritten.decrementAndGet(); // nobody reads: the line is dropped
        }
    }

    static void writeLines() {
        try {
            while (true) {
                System.out.println(lines.take());
                unwritten.decrementAndGet();
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    static void work() throws InterruptedException {
        Thread.sleep(200);
    }

    public static void main(String[] args) throws InterruptedException {
        Thread worker = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopping = true;
            try {
                worker.join(); // the virtual machine exits when its hooks have ended
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            Runtime.getRuntime().halt(0); // otherwise it exits with 143
        }));
        Thread writer = new Thread(Main::writeLines);
        writer.setDaemon(true);
        writer.start();
        while (!stopping) {
            work();
            log("one more item is done");
        }
        log("stopped");
        for (int waited = 0; unwritten.get() > 0 && waited < PATIENCE; waited += 50) {
            Thread.sleep(50);
        }
    }
}
