/** A worker that waits until somebody reads its log. */
class Main {
    static volatile boolean stopping;

    static void log(String line) {
        System.out.println(line);
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
        while (!stopping) {
            work();
            log("one more item is done");
        }
        log("stopped");
    }
}
