/** A worker that finishes the item at which the signal finds it, and ends with 0. */
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
                worker.join(); // the virtual machine ends when its hooks have
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            Runtime.getRuntime().halt(0); // it would end with 143
        }));
        while (!stopping) {
            work();
        }
    }
}
