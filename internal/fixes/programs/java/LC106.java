/** A worker that leaves its exit code to the virtual machine. */
class Main {
    static volatile boolean stopping;

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
        }));
        while (!stopping) {
            work();
        }
    }
}
